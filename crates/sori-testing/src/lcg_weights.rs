//! Weights of the speaker and alignment goldens, which follow from the tensors' names as `golden.py` beside them makes them.
//!
//! The rule (row-major element `i` of the tensor `name`, arithmetic mod 2^32; another one than [`crate::rule_weights`]):
//!
//! ```text
//! x(0)  = FNV-1a-32(name),  x(i + 1) = x(i) * 1664525 + 1013904223
//! value = f32(((x(i + 1) >> 8) / 2^24 - 0.5) * 2 * scale)
//! ```

/// The first `count` values of the tensor `name`, uniform in `-scale..scale`.
pub fn rule(name: &str, count: usize, scale: f64) -> Vec<f32> {
    let mut x = name.bytes().fold(2_166_136_261u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
    });
    let mut next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((f64::from(x >> 8) / f64::from(1 << 24) - 0.5) * 2.0 * scale) as f32
    };
    (0..count).map(|_| next()).collect()
}

/// The tensor `name` (its whole name, prefix included) of this shape, with the scale that its name and shape ask for:
/// running means ±0.1, running variances 1 to 1.5, weights of one axis 1 ± 0.1, other vectors ±0.05, matrices and
/// kernels ±√(3 / fan-in).
pub fn fill(name: &str, shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product();
    let rule = |scale| rule(name, count, scale);
    if name.ends_with("running_mean") {
        rule(0.1)
    } else if name.ends_with("running_var") {
        rule(0.5).iter().map(|value| 1.0 + value.abs()).collect()
    } else if shape.len() == 1 && name.ends_with("weight") {
        rule(0.1).iter().map(|value| 1.0 + value).collect()
    } else if shape.len() == 1 {
        rule(0.05)
    } else {
        let fan_in: usize = shape.iter().skip(1).product();
        rule((3.0 / fan_in as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &[f32] = &[0.71349573, -0.0006763935];
    const MATRIX: &[f32] = &[-0.032986656, 0.035654254, 0.040986586];
    const VARIANCE: &[f32] = &[1.4908776, 1.4168586];
    const NORM: &[f32] = &[0.98247975, 0.9205154];
    const MEAN: &[f32] = &[-0.086600445];
    const BIAS: &[f32] = &[0.0008915126];
    const KERNEL: &[f32] = &[-0.02000393, 0.2650381];

    #[test]
    fn values_are_those_of_the_script() {
        for (found, expected) in [
            (rule("x", 2, 1.0), X),
            (fill("seg.linear.0.weight", &[3, 256]), MATRIX),
            (fill("e.bn1.running_var", &[2]), VARIANCE),
            (fill("e.bn1.weight", &[2]), NORM),
            (fill("e.bn1.running_mean", &[1]), MEAN),
            (fill("e.bn1.bias", &[1]), BIAS),
            (fill("e.conv1.weight", &[2, 1, 3, 3]), KERNEL),
        ] {
            assert_eq!(found[..expected.len()], *expected);
        }
    }
}
