//! ONNX files as weights: their tensors and the order of their nodes, without a runtime (onnx.proto3 of ONNX 1.18).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use half::{bf16, f16};

use super::{MAX_TENSOR_VALUES, Tensor, Tensors};
use crate::error::{InferError, InferErrorKind};
use crate::runtime::{MAX_FILE_BYTES, wire};

/// A network as its file lists it: nodes in the order of computation, and the constant tensors they name.
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxGraph {
    /// The nodes. Those inside a branch or loop follow the node that holds it.
    pub nodes: Vec<Node>,
    /// Initializers by name, and the tensors of `Constant` nodes by the name of their output; floats only.
    pub initializers: Tensors,
}

/// One operation of a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// The operator, such as `LSTM` or `MatMul`.
    pub op_type: String,
    /// The node's own name, which differs between exports.
    pub name: String,
    /// Names of tensors, in the order of the operator's definition; empty for an optional one that is not given.
    pub inputs: Vec<String>,
    /// Names of the tensors it makes.
    pub outputs: Vec<String>,
    /// The attributes that are one whole number, such as `hidden_size`, `transB` or `group`.
    pub ints: BTreeMap<String, i64>,
}

impl OnnxGraph {
    /// Reads a file of at most 2 GiB. Allocates at most four times its size.
    ///
    /// # Errors
    /// `Io` when it cannot be read, `Damaged` when it is not ONNX or breaks its rules, `Unsupported` when it is too large
    /// or keeps its weights in another file.
    pub fn open(path: &Path) -> Result<Self, InferError> {
        let size = fs::metadata(path)
            .map_err(|error| InferError::io(path, error))?
            .len();
        if size > MAX_FILE_BYTES {
            let message = format!("{size} bytes are more than an ONNX file may have (2 GiB)");
            return Err(InferError::new(InferErrorKind::Unsupported, path, message));
        }
        let bytes = fs::read(path).map_err(|error| InferError::io(path, error))?;
        if let Err(offset) = wire::check(&bytes) {
            let message = format!("not an ONNX file, or damaged at byte {offset}");
            return Err(InferError::new(InferErrorKind::Damaged, path, message));
        }
        let mut reader = Reader {
            path,
            nodes: Vec::new(),
            tensors: BTreeMap::new(),
        };
        // ModelProto.graph
        for (field, value) in Fields(&bytes) {
            if let (7, Value::Bytes(graph)) = (field, value) {
                reader.graph(graph)?;
            }
        }
        if reader.nodes.is_empty() {
            let message = "not an ONNX file: there is no network in it";
            return Err(InferError::new(InferErrorKind::Foreign, path, message));
        }
        Ok(Self {
            nodes: reader.nodes,
            initializers: Tensors::new(path, reader.tensors),
        })
    }
}

struct Reader<'a> {
    path: &'a Path,
    nodes: Vec<Node>,
    tensors: BTreeMap<String, Tensor>,
}

impl Reader<'_> {
    /// `GraphProto`; its depth is bounded by [`wire::check`].
    fn graph(&mut self, bytes: &[u8]) -> Result<(), InferError> {
        for (field, value) in Fields(bytes) {
            match (field, value) {
                (1, Value::Bytes(node)) => self.node(node)?,
                (5, Value::Bytes(tensor)) => {
                    let (name, tensor) = self.tensor(tensor)?;
                    self.keep(name, tensor);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn keep(&mut self, name: String, tensor: Option<Tensor>) {
        if let Some(tensor) = tensor {
            self.tensors.insert(name, tensor);
        }
    }

    /// `NodeProto`.
    fn node(&mut self, bytes: &[u8]) -> Result<(), InferError> {
        let mut node = Node::default();
        let mut attributes = Vec::new();
        for (field, value) in Fields(bytes) {
            match (field, value) {
                (1, Value::Bytes(name)) => node.inputs.push(text(name)),
                (2, Value::Bytes(name)) => node.outputs.push(text(name)),
                (3, Value::Bytes(name)) => node.name = text(name),
                (4, Value::Bytes(name)) => node.op_type = text(name),
                (5, Value::Bytes(attribute)) => attributes.push(attribute),
                _ => {}
            }
        }
        let constant = (node.op_type == "Constant")
            .then(|| node.outputs.first().cloned())
            .flatten();
        let at = self.nodes.len();
        self.nodes.push(node);
        for attribute in attributes {
            if let Some((name, number)) = self.attribute(attribute, constant.as_deref())? {
                self.nodes[at].ints.insert(name, number);
            }
        }
        Ok(())
    }

    /// `AttributeProto`: gives its name and whole number, reads the graphs in it, and keeps the tensor of a constant.
    fn attribute(
        &mut self,
        bytes: &[u8],
        constant: Option<&str>,
    ) -> Result<Option<(String, i64)>, InferError> {
        let (mut name, mut number) = (String::new(), None);
        for (field, value) in Fields(bytes) {
            match (field, value) {
                (1, Value::Bytes(found)) => name = text(found),
                (3, Value::Number(found)) => number = Some(found as i64),
                (5, Value::Bytes(found)) => {
                    if let Some(output) = constant {
                        let (_, tensor) = self.tensor(found)?;
                        self.keep(output.to_owned(), tensor);
                    }
                }
                (6 | 11, Value::Bytes(graph)) => self.graph(graph)?,
                _ => {}
            }
        }
        Ok(number.map(|number| (name, number)))
    }

    /// `TensorProto`: its name, and its values if they are floats.
    fn tensor(&self, bytes: &[u8]) -> Result<(String, Option<Tensor>), InferError> {
        let (mut name, mut kind, mut dims, mut raw) = (String::new(), 0, Vec::new(), None);
        let (mut floats, mut halves, mut doubles) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_external = false;
        for (field, value) in Fields(bytes) {
            match (field, value) {
                (1, value) => value.numbers(|dim| dims.push(dim)),
                (2, Value::Number(found)) => kind = found,
                (4, value) => value.words(&mut floats, f32::from_le_bytes),
                (5, value) => value.numbers(|bits| halves.push(bits as u16)),
                (8, Value::Bytes(found)) => name = text(found),
                (9, Value::Bytes(found)) => raw = Some(found),
                (10, value) => value.words(&mut doubles, |raw| f64::from_le_bytes(raw) as f32),
                (13, _) => is_external = true,
                (14, Value::Number(location)) => is_external |= location != 0,
                _ => {}
            }
        }
        // TensorProto.DataType: FLOAT, FLOAT16, DOUBLE, BFLOAT16. The rest are integers, texts and tiny floats.
        if ![1, 10, 11, 16].contains(&kind) {
            return Ok((name, None));
        }
        if is_external {
            let message = format!(
                "the tensor {name} lies in another file: give a file that holds everything"
            );
            return Err(InferError::new(
                InferErrorKind::Unsupported,
                self.path,
                message,
            ));
        }
        let data = match (kind, raw) {
            (1, Some(raw)) => elements(raw, f32::from_le_bytes),
            (1, None) => floats,
            (10, Some(raw)) => elements(raw, |raw| f16::from_le_bytes(raw).to_f32()),
            (10, None) => halves.iter().map(|&b| f16::from_bits(b).to_f32()).collect(),
            (11, Some(raw)) => elements(raw, |raw| f64::from_le_bytes(raw) as f32),
            (11, None) => doubles,
            (_, Some(raw)) => elements(raw, |raw| bf16::from_le_bytes(raw).to_f32()),
            (_, None) => halves
                .iter()
                .map(|&b| bf16::from_bits(b).to_f32())
                .collect(),
        };
        let count = dims
            .iter()
            .try_fold(1u64, |n, &d| n.checked_mul(d))
            .filter(|&n| n <= MAX_TENSOR_VALUES);
        if count != Some(data.len() as u64) {
            let message = format!(
                "the tensor {name} of shape {dims:?} has {} values: download the file again",
                data.len()
            );
            return Err(InferError::new(InferErrorKind::Damaged, self.path, message));
        }
        let shape = dims.iter().map(|&d| d as usize).collect();
        Ok((name, Some(Tensor { shape, data })))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn elements<const N: usize, T>(raw: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    raw.as_chunks::<N>().0.iter().map(|&b| read(b)).collect()
}

/// The fields of a protobuf message that [`wire::check`] has passed; ends at the first that does not fit.
struct Fields<'a>(&'a [u8]);

/// A field's content by wire type.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut at = 0;
        let tag = wire::varint(self.0, &mut at)?;
        let value = if tag & 7 == 0 {
            Value::Number(wire::varint(self.0, &mut at)?)
        } else {
            let length = match tag & 7 {
                1 => 8,
                2 => usize::try_from(wire::varint(self.0, &mut at)?).ok()?,
                5 => 4,
                _ => return None,
            };
            let start = at;
            at = at.checked_add(length)?;
            Value::Bytes(self.0.get(start..at)?)
        };
        self.0 = &self.0[at..];
        Some((tag >> 3, value))
    }
}

impl Value<'_> {
    /// A repeated field of whole numbers, packed or one by one.
    fn numbers(self, mut each: impl FnMut(u64)) {
        match self {
            Self::Number(number) => each(number),
            Self::Bytes(packed) => {
                let mut at = 0;
                while let Some(number) = wire::varint(packed, &mut at) {
                    each(number);
                }
            }
        }
    }

    /// A repeated field of numbers of fixed length, packed or one by one.
    fn words<const N: usize>(self, into: &mut Vec<f32>, read: impl Fn([u8; N]) -> f32) {
        if let Self::Bytes(packed) = self {
            into.extend(packed.as_chunks::<N>().0.iter().map(|&raw| read(raw)));
        }
    }
}
