;; Adds up token vectors, each times its weight, 8 dimensions at a time.
;; `python deploy/browser/assemble.py` prints the bytes that millstream.js holds.
;;
;; The memory holds tokens from address 0: of each, the address of its row (i32) and its weight (f32).
;; The sums (f32) are at address 65536. A row's numbers have $size bytes: int8 with 1, float32 with 4.
(module
  (memory (import "" "memory") 2)
  (func (export "add") (param $size i32) (param $tokens_end i32) (param $sums_end i32)
    (local $sums i32)
    (local $offset i32) ;; of the 8 numbers in a row, in bytes
    (local $token i32)
    (local $row i32)
    (local $weight v128)
    (local $a v128)
    (local $b v128)
    (local $sum_a v128)
    (local $sum_b v128)
    (local $zero v128)
    (local.set $sums (i32.const 65536))
    (loop $each_8_dimensions
      (local.set $sum_a (local.get $zero))
      (local.set $sum_b (local.get $zero))
      (local.set $token (i32.const 0))
      (loop $each_token
        (local.set $row (i32.add (i32.load (local.get $token)) (local.get $offset)))
        (local.set $weight (v128.load32_splat offset=4 (local.get $token)))
        (if (i32.eq (local.get $size) (i32.const 1))
          (then
            (local.set $b (f32x4.convert_i32x4_s (i32x4.extend_high_i16x8_s
              (local.tee $a (v128.load8x8_s (local.get $row))))))
            (local.set $a (f32x4.convert_i32x4_s (i32x4.extend_low_i16x8_s (local.get $a)))))
          (else
            (local.set $a (v128.load (local.get $row)))
            (local.set $b (v128.load offset=16 (local.get $row)))))
        (local.set $sum_a (f32x4.add (local.get $sum_a) (f32x4.mul (local.get $a) (local.get $weight))))
        (local.set $sum_b (f32x4.add (local.get $sum_b) (f32x4.mul (local.get $b) (local.get $weight))))
        (br_if $each_token
          (i32.lt_u (local.tee $token (i32.add (local.get $token) (i32.const 8))) (local.get $tokens_end))))
      (v128.store (local.get $sums) (f32x4.add (local.get $sum_a) (v128.load (local.get $sums))))
      (v128.store offset=16 (local.get $sums) (f32x4.add (local.get $sum_b) (v128.load offset=16 (local.get $sums))))
      (local.set $offset (i32.add (local.get $offset) (i32.shl (local.get $size) (i32.const 3))))
      (br_if $each_8_dimensions
        (i32.lt_u (local.tee $sums (i32.add (local.get $sums) (i32.const 32))) (local.get $sums_end))))))
