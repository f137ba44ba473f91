//! Checks that bytes are a well-formed ONNX message before the runtime parses them.
//!
//! rten-onnx 0.27 trusts the lengths in a file: one beyond its parent makes it allocate that much or, read as a negative
//! number, seek backwards for ever. Here every length is compared with what is left of its parent, down through every
//! message that the runtime reads (onnx.proto3 of ONNX 1.18; protobuf encoding guide for the wire types).

/// Messages inside messages: a file nested deeper than this is an attack on the stack.
const MAX_DEPTH: usize = 64;

/// The message types that hold others; everything else is a [`Message::Leaf`].
#[derive(Clone, Copy)]
enum Message {
    Model,
    Training,
    Function,
    Graph,
    Node,
    Attribute,
    SparseTensor,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    SequenceType,
    MapType,
    Shape,
    Leaf,
}

impl Message {
    /// The message in this field, or `None` when it holds text, bytes, packed numbers or is unknown.
    fn child(self, field: u64) -> Option<Self> {
        Some(match (self, field) {
            (Self::Model, 7) | (Self::Training, 1 | 2) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => {
                Self::Tensor
            }
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::SparseTensor,
            (Self::Graph, 11..=13) | (Self::Function, 12) => Self::ValueInfo,
            (Self::ValueInfo, 2) | (Self::Attribute, 14 | 15) => Self::Type,
            (Self::SequenceType, 1) | (Self::MapType, 2) => Self::Type,
            (Self::Type, 1 | 8) => Self::TensorType,
            (Self::Type, 4 | 9) => Self::SequenceType,
            (Self::Type, 5) => Self::MapType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Shape, 1) => Self::Leaf,
            (Self::Model, 8 | 14) | (Self::Tensor, 3 | 13) | (Self::Graph, 14 | 16) => Self::Leaf,
            (Self::Function, 9 | 14) | (Self::Training, 3 | 4) | (Self::Node, 9) => Self::Leaf,
            _ => return None,
        })
    }
}

/// Checks the whole file.
///
/// # Errors
/// The offset of the first field that does not fit.
pub(crate) fn check(bytes: &[u8]) -> Result<(), usize> {
    message(bytes, 0, bytes.len(), Message::Model, 0)
}

fn message(
    bytes: &[u8],
    start: usize,
    end: usize,
    kind: Message,
    depth: usize,
) -> Result<(), usize> {
    if depth > MAX_DEPTH {
        return Err(start);
    }
    let mut at = start;
    while at < end {
        let field_start = at;
        let rest = &bytes[..end];
        let tag = varint(rest, &mut at).ok_or(field_start)?;
        let len = match tag & 7 {
            0 => varint(rest, &mut at).map(|_| 0),
            1 => Some(8),
            2 => varint(rest, &mut at),
            5 => Some(4),
            _ => None,
        };
        let len = len
            .and_then(|len| usize::try_from(len).ok())
            .ok_or(field_start)?;
        if len > end - at {
            return Err(field_start);
        }
        if let (2, Some(child)) = (tag & 7, kind.child(tag >> 3)) {
            message(bytes, at, at + len, child, depth + 1)?;
        }
        at += len;
    }
    Ok(())
}

/// The base-128 number at `at`, which moves behind it; `None` when it is cut or longer than ten bytes.
pub(crate) fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn lengths_must_fit_their_parents() {
        for (bytes, result) in [
            (&[][..], Ok(())),
            // ir_version 8, then a graph of two bytes: an empty node.
            (&[0x08, 8, 0x3a, 2, 0x0a, 0], Ok(())),
            // The node says five bytes where its graph has none left; the file has.
            (&[0x08, 8, 0x3a, 2, 0x0a, 5, 0, 0, 0, 0, 0], Err(4)),
            (&[0x08, 8, 0x3a, 9, 0x0a, 0], Err(2)),
            // A length of 2^63 and more, which is negative where it is used to seek.
            (
                &[
                    0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
                ],
                Err(0),
            ),
            (&[0xff; 64], Err(0)),
            (&[0x0b], Err(0)),
            (&[0x09, 0, 0], Err(0)),
        ] {
            assert_eq!(check(bytes), result, "{bytes:?}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        // Graphs in attributes in nodes in graphs, and so on.
        let mut bytes = Vec::new();
        for tag in [0x32, 0x2a, 0x0a].into_iter().cycle().take(300) {
            let len = bytes.len();
            let head = [tag, len as u8 & 0x7f | 0x80, (len >> 7) as u8];
            bytes.splice(0..0, head);
        }
        let len = bytes.len();
        bytes.splice(0..0, [0x3a, len as u8 & 0x7f | 0x80, (len >> 7) as u8]);
        assert!(check(&bytes).is_err());
    }

    #[test]
    fn a_real_network_passes_and_no_damage_to_it_panics() {
        let whole = std::fs::read(sori_testing::shared("models/vad/silero_vad.onnx")).unwrap();
        assert_eq!(check(&whole), Ok(()));
        let mut random = sori_testing::tone::Random::new(5);
        for _ in 0..200 {
            let mut damaged = whole.clone();
            let at = random.next() as usize % damaged.len();
            damaged[at] = random.next() as u8;
            let _ = check(&damaged);
            assert!(check(&damaged[..at.max(1)]).is_err() || at < 64);
        }
    }
}
