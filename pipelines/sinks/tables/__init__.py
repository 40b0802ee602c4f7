"""Tables in open formats as outputs: Iceberg and Delta, each commit with the positions of the input."""
