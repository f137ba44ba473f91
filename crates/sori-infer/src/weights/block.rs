//! GGML's block-quantised number formats (ggml/src/ggml-quants.c, `dequantize_row_*`): 32 values a block.

use half::f16;

/// Values in a block.
pub const BLOCK: usize = 32;

/// A number format of a GGML tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    F32,
    F16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
}

impl Format {
    /// The format with a number of `enum ggml_type`, if it is one that Whisper files use.
    pub fn from_id(id: i32) -> Option<Self> {
        Some(match id {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            _ => return None,
        })
    }

    /// (values, bytes) of the smallest piece.
    pub fn block(self) -> (u64, u64) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
        }
    }

    /// Widens whole blocks to f32.
    pub fn widen(self, raw: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => raw
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&b| f32::from_le_bytes(b))
                .collect(),
            Self::F16 => raw
                .as_chunks::<2>()
                .0
                .iter()
                .map(|&b| f16::from_le_bytes(b).to_f32())
                .collect(),
            Self::Q4_0 => blocks::<18>(raw, |b| {
                four(half_at(b, 0), -8.0 * half_at(b, 0), 0, &b[2..])
            }),
            Self::Q4_1 => blocks::<20>(raw, |b| four(half_at(b, 0), half_at(b, 2), 0, &b[4..])),
            Self::Q5_0 => blocks::<22>(raw, |b| {
                four(half_at(b, 0), -16.0 * half_at(b, 0), word_at(b, 2), &b[6..])
            }),
            Self::Q5_1 => blocks::<24>(raw, |b| {
                four(half_at(b, 0), half_at(b, 2), word_at(b, 4), &b[8..])
            }),
            Self::Q8_0 => blocks::<34>(raw, |b| {
                std::array::from_fn(|i| half_at(b, 0) * f32::from(b[2 + i] as i8))
            }),
        }
    }
}

fn blocks<const N: usize>(raw: &[u8], widen: impl Fn(&[u8; N]) -> [f32; BLOCK]) -> Vec<f32> {
    raw.as_chunks::<N>().0.iter().flat_map(widen).collect()
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn word_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// Four-bit numbers, low halves first, with a fifth bit each from `high`: `scale * q + offset`.
fn four(scale: f32, offset: f32, high: u32, low: &[u8]) -> [f32; BLOCK] {
    std::array::from_fn(|i| {
        let nibble = if i < 16 {
            low[i] & 15
        } else {
            low[i - 16] >> 4
        };
        let q = u32::from(nibble) | ((high >> i) & 1) << 4;
        scale * q as f32 + offset
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: Format, raw: &[u8], first: &[(usize, f32)]) {
        let values = format.widen(raw);
        assert_eq!(values.len(), BLOCK);
        for &(i, want) in first {
            assert_eq!(values[i], want, "{format:?} value {i}");
        }
    }

    #[test]
    fn blocks_are_widened_as_ggml_does() {
        let one = f16::from_f32(1.0).to_le_bytes();
        let two = f16::from_f32(2.0).to_le_bytes();
        let low: Vec<u8> = (0..16).map(|i| (i as u8) | ((15 - i as u8) << 4)).collect();
        check(
            Format::Q4_0,
            &[&two[..], &low].concat(),
            &[(0, -16.0), (15, 14.0), (16, 14.0), (31, -16.0)],
        );
        check(
            Format::Q4_1,
            &[&two[..], &one, &low].concat(),
            &[(0, 1.0), (15, 31.0), (16, 31.0)],
        );
        let high = 0x8000_0001u32.to_le_bytes();
        check(
            Format::Q5_0,
            &[&one[..], &high, &low].concat(),
            &[(0, 0.0), (1, -15.0), (31, 0.0)],
        );
        check(
            Format::Q5_1,
            &[&one[..], &one, &high, &low].concat(),
            &[(0, 17.0), (1, 2.0), (31, 17.0)],
        );
        let bytes: Vec<u8> = (0..32).map(|i| (i as i8 - 16) as u8).collect();
        check(
            Format::Q8_0,
            &[&two[..], &bytes].concat(),
            &[(0, -32.0), (31, 30.0)],
        );
    }
}
