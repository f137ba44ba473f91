//! The weights of a segmentation network by pyannote's names, from whatever file they are in.

use std::collections::BTreeMap;
use std::path::Path;

use sori_infer::weights::{Node, OnnxGraph, Tensor, Tensors};
use sori_infer::{InferError, InferErrorKind};

use super::SAMPLE_RATE;

/// Where the filters of the first convolution are, when they are not made from their edges.
const FILTERS: &str = "sincnet.conv1d.0.weight";

/// Lowest edge and narrowest band of a filter in Hz (`asteroid_filterbanks`, `ParamSincFB`; pyannote sets no others).
const LEAST_HZ: f32 = 50.0;

/// Most layers of a kind: a file whose nodes share tensors must not grow in memory with the number of nodes.
const MOST_LAYERS: usize = 16;

/// Reads a file and gives its tensors pyannote's names.
pub(super) fn open(path: &Path) -> Result<Tensors, InferError> {
    let tensors = Tensors::open(path)?;
    if tensors.contains("lstm.weight_ih_l0") || path.is_dir() {
        return Ok(tensors);
    }
    match OnnxGraph::open(path) {
        Ok(graph) => named(&graph),
        // Not ONNX: let the loader say which tensor is missing.
        Err(_) => Ok(tensors),
    }
}

/// An error when a tensor has no values: sizes of zero pass all other checks.
pub(super) fn not_empty(tensors: &Tensors, weight: &[f32], what: &str) -> Result<(), InferError> {
    if weight.is_empty() {
        let message = format!("the weights of {what} are empty: this is another network");
        return Err(InferError::new(
            InferErrorKind::Shape,
            tensors.path(),
            message,
        ));
    }
    Ok(())
}

/// The published export, whose tensors are told by the nodes that use them.
fn named(graph: &OnnxGraph) -> Result<Tensors, InferError> {
    let mut found = Found {
        graph,
        tensors: BTreeMap::new(),
    };
    let filters = graph.initializers.names().find(|name| {
        let shape = graph.initializers.shape(name);
        matches!(shape, Some([_, 1, kernel]) if *kernel > 1)
    });
    if let Some(filters) = filters {
        found.keep(FILTERS, graph.initializers.tensor(filters)?.clone());
    }
    let (mut norms, mut convs, mut layers, mut linears) = (0, 0, 0, Vec::new());
    for (at, node) in graph.nodes.iter().enumerate() {
        match node.op_type.as_str() {
            "InstanceNormalization" if norms < MOST_LAYERS => {
                let name = match norms {
                    0 => "sincnet.wav_norm1d".to_owned(),
                    _ => format!("sincnet.norm1d.{}", norms - 1),
                };
                norms += 1;
                found.copy(node, 1, &format!("{name}.weight"))?;
                found.copy(node, 2, &format!("{name}.bias"))?;
            }
            // The first convolution has the filters found above, and no bias.
            "Conv" if node.inputs.len() > 2 && convs < MOST_LAYERS => {
                convs += 1;
                found.copy(node, 1, &format!("sincnet.conv1d.{convs}.weight"))?;
                found.copy(node, 2, &format!("sincnet.conv1d.{convs}.bias"))?;
            }
            "LSTM" if layers < MOST_LAYERS => {
                found.lstm(node, layers)?;
                layers += 1;
            }
            "MatMul" | "Gemm" if linears.len() < MOST_LAYERS => linears.push(at),
            _ => {}
        }
    }
    for (index, &at) in linears.iter().enumerate() {
        let name = match index + 1 == linears.len() {
            true => "classifier".to_owned(),
            false => format!("linear.{index}"),
        };
        found.linear(at, &name)?;
    }
    Ok(Tensors::new(graph.initializers.path(), found.tensors))
}

struct Found<'a> {
    graph: &'a OnnxGraph,
    tensors: BTreeMap<String, Tensor>,
}

impl Found<'_> {
    fn keep(&mut self, name: &str, tensor: Tensor) {
        self.tensors.insert(name.to_owned(), tensor);
    }

    fn input(&self, node: &Node, index: usize) -> Result<&Tensor, InferError> {
        let name = node.inputs.get(index).map_or("", String::as_str);
        self.graph.initializers.tensor(name)
    }

    fn copy(&mut self, node: &Node, index: usize, name: &str) -> Result<(), InferError> {
        let tensor = self.input(node, index)?.clone();
        self.keep(name, tensor);
        Ok(())
    }

    /// Both directions of a layer: ONNX stacks them, orders the gates i, o, f, g and joins the biases.
    fn lstm(&mut self, node: &Node, layer: usize) -> Result<(), InferError> {
        for (index, part) in [(1, "weight_ih"), (2, "weight_hh"), (3, "bias")] {
            let both = self.input(node, index)?.clone();
            for (direction, suffix) in ["", "_reverse"].into_iter().enumerate() {
                let half = both.data.len() / 2;
                let values = &both.data[direction * half..][..half];
                let rows = both.shape.get(1).copied().unwrap_or(0);
                if part == "bias" {
                    let (input, recurrent) = values.split_at(half / 2);
                    for (part, values) in [("bias_ih", input), ("bias_hh", recurrent)] {
                        let name = format!("lstm.{part}_l{layer}{suffix}");
                        let data = reordered(values);
                        let shape = vec![data.len()];
                        self.keep(&name, Tensor { shape, data });
                    }
                } else {
                    let data = reordered(values);
                    let shape = vec![rows, data.len() / rows.max(1)];
                    let name = format!("lstm.{part}_l{layer}{suffix}");
                    self.keep(&name, Tensor { shape, data });
                }
            }
        }
        Ok(())
    }

    /// A product with a constant and the addition of a bias after it.
    fn linear(&mut self, at: usize, name: &str) -> Result<(), InferError> {
        let node = &self.graph.nodes[at];
        let weight = self.input(node, 1)?.clone();
        let is_turned = node.op_type == "Gemm" && node.ints.get("transB") == Some(&1);
        let weight = if is_turned { weight } else { turned(weight) };
        self.keep(&format!("{name}.weight"), weight);
        let bias = format!("{name}.bias");
        if node.op_type == "Gemm" {
            return self.copy(&self.graph.nodes[at].clone(), 2, &bias);
        }
        let output = node.outputs.first();
        let add = self.graph.nodes[at..].iter().find(|next| {
            next.op_type == "Add" && output.is_some_and(|output| next.inputs.contains(output))
        });
        let constant = add.and_then(|add| {
            let mut inputs = add.inputs.iter();
            inputs.find(|input| self.graph.initializers.contains(input))
        });
        match constant {
            Some(constant) => {
                let tensor = self.graph.initializers.tensor(constant)?.clone();
                self.keep(&bias, tensor);
                Ok(())
            }
            // The loader names what is missing.
            None => Ok(()),
        }
    }
}

/// Gates i, o, f, g in PyTorch's order i, f, g, o.
fn reordered(values: &[f32]) -> Vec<f32> {
    let gate = values.len() / 4;
    [0, 2, 3, 1]
        .into_iter()
        .flat_map(|at| &values[at * gate..][..gate])
        .copied()
        .collect()
}

/// A matrix `(inputs, outputs)` as `(outputs, inputs)`.
fn turned(matrix: Tensor) -> Tensor {
    match matrix.shape[..] {
        [rows, columns] => Tensor {
            shape: vec![columns, rows],
            data: (0..rows * columns)
                .map(|at| matrix.data[at % rows * columns + at / rows])
                .collect(),
        },
        _ => matrix,
    }
}

/// The filters of the first convolution, shape `(filters, 1, kernel)`: as they are in the file, or a cosine and a sine filter
/// of each pair of a lowest frequency and a bandwidth, as `asteroid_filterbanks.ParamSincFB.filters` makes them.
pub(super) fn sinc_filters(tensors: &Tensors) -> Result<Tensor, InferError> {
    if let Some(&[filters, _, kernel]) = tensors.shape(FILTERS) {
        let data = tensors.get(FILTERS, &[filters, 1, kernel])?.to_vec();
        let shape = vec![filters, 1, kernel];
        return Ok(Tensor { shape, data });
    }
    let name = |part| format!("sincnet.conv1d.0.filterbank.{part}");
    let pairs = tensors.tensor(&name("low_hz_"))?.data.len();
    let low = tensors.get(&name("low_hz_"), &[pairs, 1])?;
    let band = tensors.get(&name("band_hz_"), &[pairs, 1])?;
    let half = tensors.tensor(&name("window_"))?.data.len();
    let window = tensors.get(&name("window_"), &[half])?;
    let phase = tensors.get(&name("n_"), &[1, half])?;
    let kernel = 2 * half + 1;
    let mut data = vec![0.0f32; 2 * pairs * kernel];
    let (cosines, sines) = data.split_at_mut(pairs * kernel);
    let rows = cosines
        .chunks_exact_mut(kernel)
        .zip(sines.chunks_exact_mut(kernel));
    for ((cosine, sine), (low, band)) in rows.zip(low.iter().zip(band)) {
        let low = LEAST_HZ + low.abs();
        let high = (low + LEAST_HZ + band.abs()).clamp(LEAST_HZ, SAMPLE_RATE as f32 / 2.0);
        let width = 2.0 * (high - low);
        cosine[half] = 1.0;
        for at in 0..half {
            let (low, high) = (low * phase[at], high * phase[at]);
            // The order of these roundings is torch's: sounds with quiet bands amplify them a thousandfold.
            let taper = |difference: f32| difference / (phase[at] / 2.0) * window[at] / width;
            let even = taper(high.sin() - low.sin());
            let odd = taper(low.cos() - high.cos());
            cosine[at] = even;
            cosine[kernel - 1 - at] = even;
            sine[at] = odd;
            sine[kernel - 1 - at] = -odd;
        }
    }
    let shape = vec![2 * pairs, 1, kernel];
    Ok(Tensor { shape, data })
}
