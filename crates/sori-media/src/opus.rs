//! Opus packets to PCM at 48 kHz, and the identification header that says how (RFC 7845, section 5.1).

use rusty_opus::OpusDecoder;
use rusty_opus::multistream::OpusMSDecoder;

/// Rate at which Opus is decoded, in Hz. Pre-skip counts at this rate, whatever the original rate was.
pub(crate) const RATE_HZ: u32 = 48_000;
/// Longest packet: 120 ms (RFC 6716, section 3.1).
const MAX_FRAMES: usize = 5760;

/// The fields of an `OpusHead` that decoding needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Head {
    pub(crate) channels: usize,
    /// Frames at 48 kHz to drop at the start.
    pub(crate) pre_skip: u32,
    /// Factor on every sample.
    gain: f32,
    family: u8,
}

impl Head {
    /// Reads an `OpusHead`. The body has the same layout in MP4's `dOps`, but big-endian (`dOps` in the MP4 mapping of Opus,
    /// section 4.3.2), which symphonia passes on behind the magic; then `big_endian` is true.
    pub(crate) fn parse(bytes: &[u8], big_endian: bool) -> Option<Self> {
        let body = bytes.strip_prefix(b"OpusHead")?;
        if body.len() < 11 {
            return None;
        }
        let word = |at: usize| {
            let pair = [body[at], body[at + 1]];
            if big_endian {
                u16::from_be_bytes(pair)
            } else {
                u16::from_le_bytes(pair)
            }
        };
        let channels = usize::from(body[1]);
        let family = body[10];
        let standard = match channels {
            0 => false,
            1 | 2 => true,
            // Only the Vorbis channel order with the usual split into streams is decoded here (RFC 7845, section 5.1.1.2).
            3..=8 => family == 1 && body.get(11..13 + channels).is_some_and(standard_streams),
            _ => false,
        };
        let gain_db = f32::from(word(8) as i16) / 256.0;
        standard.then(|| Self {
            channels,
            pre_skip: word(2).into(),
            gain: 10f32.powf(gain_db / 20.0),
            family,
        })
    }
}

/// Whether stream count, coupled count and mapping are those of mapping family 1 (RFC 7845, figure 3 and libopus
/// `vorbis_mappings`).
fn standard_streams(table: &[u8]) -> bool {
    const TABLES: [&[u8]; 6] = [
        &[2, 1, 0, 2, 1],
        &[2, 2, 0, 1, 2, 3],
        &[3, 2, 0, 4, 1, 2, 3],
        &[4, 2, 0, 4, 1, 2, 3, 5],
        &[4, 3, 0, 4, 1, 2, 3, 5, 6],
        &[5, 3, 0, 6, 1, 2, 3, 4, 5, 7],
    ];
    TABLES.contains(&table)
}

enum Decoder {
    Plain(Box<OpusDecoder>),
    Surround(Box<OpusMSDecoder>),
}

/// A decoder with its head and buffer.
pub(crate) struct OpusStream {
    head: Head,
    decoder: Decoder,
    interleaved: Vec<f32>,
}

impl OpusStream {
    pub(crate) fn new(head: Head) -> Option<Self> {
        let decoder = if head.channels <= 2 {
            Decoder::Plain(Box::new(
                OpusDecoder::new(RATE_HZ as i32, head.channels).ok()?,
            ))
        } else {
            let surround =
                OpusMSDecoder::new(RATE_HZ as i32, head.channels, i32::from(head.family)).ok()?;
            Decoder::Surround(Box::new(surround))
        };
        Some(Self {
            head,
            decoder,
            interleaved: vec![0.0; MAX_FRAMES * head.channels],
        })
    }

    /// Decodes one packet into one plane per channel.
    pub(crate) fn decode(
        &mut self,
        packet: &[u8],
        planes: &mut Vec<Vec<f32>>,
    ) -> Result<(), &'static str> {
        if packet.is_empty() {
            return Err("an empty Opus packet");
        }
        let frames = match &mut self.decoder {
            Decoder::Plain(decoder) => decoder.decode(packet, MAX_FRAMES, &mut self.interleaved),
            Decoder::Surround(decoder) => decoder.decode(packet, MAX_FRAMES, &mut self.interleaved),
        }
        .map_err(|error| error.message())?;
        let channels = self.head.channels;
        planes.resize_with(channels, Vec::new);
        for (channel, plane) in planes.iter_mut().enumerate() {
            let samples = self.interleaved.chunks_exact(channels).take(frames);
            plane.clear();
            plane.extend(samples.map(|frame| frame[channel] * self.head.gain));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(channels: u8, gain: i16, family: u8, table: &[u8]) -> Vec<u8> {
        let mut bytes = b"OpusHead\x01".to_vec();
        bytes.push(channels);
        bytes.extend_from_slice(&312u16.to_le_bytes());
        bytes.extend_from_slice(&48_000u32.to_le_bytes());
        bytes.extend_from_slice(&gain.to_le_bytes());
        bytes.push(family);
        bytes.extend_from_slice(table);
        bytes
    }

    #[test]
    fn heads_are_read_and_foreign_layouts_refused() {
        let plain = Head::parse(&head(2, -1536, 0, &[]), false).expect("a plain head");
        assert_eq!((plain.channels, plain.pre_skip), (2, 312));
        assert!((plain.gain - 0.501).abs() < 1e-3, "-6 dB");
        let surround = head(6, 0, 1, &[4, 2, 0, 4, 1, 2, 3, 5]);
        assert_eq!(Head::parse(&surround, false).expect("5.1").channels, 6);
        for refused in [
            head(0, 0, 0, &[]),
            head(3, 0, 0, &[]),
            head(6, 0, 1, &[4, 2, 0, 1, 2, 3, 4, 5]),
            head(6, 0, 255, &[6, 0, 0, 1, 2, 3, 4, 5]),
            head(255, 0, 1, &[]),
            b"OpusHea".to_vec(),
            b"OpusHead\x01\x02".to_vec(),
        ] {
            assert_eq!(Head::parse(&refused, false), None);
        }
    }

    #[test]
    fn mp4_heads_are_big_endian() {
        let bytes = b"OpusHead\x00\x01\x01\x38\x00\x00\xbb\x80\x00\x00\x00";
        assert_eq!(Head::parse(bytes, true).expect("a dOps").pre_skip, 312);
    }

    #[test]
    fn broken_packets_are_refused() {
        let head = Head::parse(&head(1, 0, 0, &[]), false).expect("a head");
        let mut stream = OpusStream::new(head).expect("a decoder");
        let mut planes = Vec::new();
        assert!(stream.decode(&[], &mut planes).is_err());
        assert!(stream.decode(&[0xff, 0xff, 0xff], &mut planes).is_err());
    }
}
