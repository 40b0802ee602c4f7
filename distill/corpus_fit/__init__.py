"""The fit to a corpus: a table whose mean-pooled vectors follow the teacher's vectors of real texts.

`sample` draws the texts, `targets` reduces the teacher's vectors, `ridge` aligns and fits the table (with
`pooling` as the linear map), `refine` follows text similarities, and `blend` mixes in the plain distillation.
`fit` runs these steps.
"""
