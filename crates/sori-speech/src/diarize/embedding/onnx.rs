//! WeSpeaker's exports to ONNX, whose tensors are told by the nodes that use them: here they get the names of the training.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sori_infer::weights::{Node, OnnxGraph, Tensor, Tensors};
use sori_infer::{InferError, InferErrorKind};

use super::reader::Reader;
use super::{campplus, resnet};

/// Most values of all tensors together: a file whose nodes share tensors must not grow in memory with the number of nodes.
/// WeSpeaker's largest network has 30 million.
const MOST_VALUES: usize = 1 << 27;

/// Reads a file and gives its tensors the names of the training.
pub(super) fn open(path: &Path) -> Result<Tensors, InferError> {
    let tensors = Tensors::open(path)?;
    let has = |mark| Reader::find(&tensors, mark).is_some();
    let is_named = has(resnet::MARK) || has(campplus::MARK) || has("lstm.weight_ih_l0");
    if is_named || path.is_dir() {
        return Ok(tensors);
    }
    match OnnxGraph::open(path) {
        Ok(graph) => Found::new(&graph).named(),
        // Not ONNX: let the caller say what it is not.
        Err(_) => Ok(tensors),
    }
}

/// The convolutions, products and norms of a network, in order.
struct Found<'a> {
    graph: &'a OnnxGraph,
    /// Picture convolutions of 3 × 3.
    squares: Vec<&'a Node>,
    /// Picture convolutions of 1 × 1: the ways around blocks.
    shortcuts: Vec<&'a Node>,
    /// Time convolutions.
    times: Vec<&'a Node>,
    /// Linear layers.
    linears: Vec<&'a Node>,
    /// Batch norms that no convolution could absorb.
    norms: Vec<&'a Node>,
    /// For each tensor that one node alone uses, and that as its first input: that node.
    users: BTreeMap<&'a str, &'a Node>,
    tensors: BTreeMap<String, Tensor>,
    /// Values of those kept, each as often as it is used.
    values: usize,
}

impl<'a> Found<'a> {
    fn new(graph: &'a OnnxGraph) -> Self {
        let mut found = Self {
            graph,
            squares: vec![],
            shortcuts: vec![],
            times: vec![],
            linears: vec![],
            norms: vec![],
            users: only_users(graph),
            tensors: BTreeMap::new(),
            values: 0,
        };
        let mut absorbed = BTreeSet::new();
        for node in &graph.nodes {
            let shape = node
                .inputs
                .get(1)
                .and_then(|name| graph.initializers.shape(name));
            if node.op_type == "Conv" && found.norm_after(node).is_some() {
                absorbed.extend(node.outputs.first());
            }
            match (node.op_type.as_str(), shape) {
                ("Conv", Some([_, _, 3, 3])) => found.squares.push(node),
                ("Conv", Some([_, _, 1, 1])) => found.shortcuts.push(node),
                ("Conv", Some([_, _, _])) => found.times.push(node),
                ("Gemm", Some(_)) => found.linears.push(node),
                ("BatchNormalization", Some(_))
                    if !node
                        .inputs
                        .first()
                        .is_some_and(|input| absorbed.contains(input)) =>
                {
                    found.norms.push(node);
                }
                _ => {}
            }
        }
        found
    }

    fn named(mut self) -> Result<Tensors, InferError> {
        if self.times.is_empty() {
            self.resnet()?;
        } else {
            self.campplus()?;
        }
        self.take_off_mean();
        Ok(Tensors::new(self.graph.initializers.path(), self.tensors))
    }

    /// The export ends by taking a mean off the vector; the last layer's bias can do it.
    fn take_off_mean(&mut self) {
        let end = self.graph.nodes.last().filter(|node| node.op_type == "Sub");
        let mean = end.and_then(|node| self.input(node, 1));
        let biases = ["seg_1.bias", "xvector.dense.linear.bias"];
        let Some(mean) = mean.cloned() else { return };
        for name in biases {
            if let Some(bias) = self.tensors.get_mut(name) {
                for (bias, mean) in bias.data.iter_mut().zip(&mean.data) {
                    *bias -= mean;
                }
            }
        }
    }

    /// An input of a node, if it is a constant.
    fn input(&self, node: &Node, index: usize) -> Option<&'a Tensor> {
        let name = node.inputs.get(index)?;
        self.graph.initializers.tensor(name).ok()
    }

    fn resnet(&mut self) -> Result<(), InferError> {
        let mut squares = std::mem::take(&mut self.squares).into_iter();
        let mut shortcuts = std::mem::take(&mut self.shortcuts).into_iter();
        if let Some(stem) = squares.next() {
            self.copy(stem, "conv1", "bn1")?;
        }
        let (mut stage, mut depth, mut width) = (1, 0, None);
        while let (Some(first), Some(second)) = (squares.next(), squares.next()) {
            let [outputs, inputs] = self.channels(first);
            // A stage begins where the channels change.
            if width.is_some_and(|width| width != outputs) {
                (stage, depth) = (stage + 1, 0);
            }
            width = Some(outputs);
            let around = if inputs == outputs {
                None
            } else {
                shortcuts.next()
            };
            self.block(&format!("layer{stage}.{depth}"), [first, second], around)?;
            depth += 1;
        }
        if let Some(linear) = self.linears.last().copied() {
            self.keep(linear, &["seg_1.weight", "seg_1.bias"])?;
        }
        Ok(())
    }

    fn campplus(&mut self) -> Result<(), InferError> {
        let squares = std::mem::take(&mut self.squares);
        let mut shortcuts = std::mem::take(&mut self.shortcuts).into_iter();
        if let [stem, blocks @ .., end] = &squares[..] {
            self.copy(stem, "head.conv1", "head.bn1")?;
            self.copy(end, "head.conv2", "head.bn2")?;
            let stages = blocks.len() / 4;
            for (at, pair) in blocks.as_chunks::<2>().0.iter().enumerate() {
                let (stage, depth) = (at / stages.max(1), at % stages.max(1));
                let around = if depth == 0 { shortcuts.next() } else { None };
                self.block(&format!("head.layer{}.{depth}", stage + 1), *pair, around)?;
            }
        }
        let mut norms = std::mem::take(&mut self.norms).into_iter();
        let times = std::mem::take(&mut self.times);
        let [tdnn, times @ .., dense] = &times[..] else {
            return Ok(());
        };
        self.copy(
            tdnn,
            "xvector.tdnn.linear",
            "xvector.tdnn.nonlinear.batchnorm",
        )?;
        self.copy(
            dense,
            "xvector.dense.linear",
            "xvector.dense.nonlinear.batchnorm",
        )?;
        let (mut block, mut layer, mut at) = (1, 1, 0);
        while let Some(&conv) = times.get(at) {
            let is_layer = times.get(at + 1).is_some_and(|next| self.kernel(next) > 1);
            let norm = norms.next();
            let name = if is_layer {
                let name = format!("xvector.block{block}.tdnnd{layer}");
                let full = |part: &str| format!("{name}.{part}");
                self.copy(conv, &full("linear1"), &full("nonlinear2.batchnorm"))?;
                for (conv, part) in
                    times[at + 1..]
                        .iter()
                        .zip(["linear_local", "linear1", "linear2"])
                {
                    self.copy(conv, &full(&format!("cam_layer.{part}")), "")?;
                }
                (layer, at) = (layer + 1, at + 4);
                full("nonlinear1.batchnorm")
            } else {
                let name = format!("xvector.transit{block}");
                self.copy(conv, &format!("{name}.linear"), "")?;
                (block, layer, at) = (block + 1, 1, at + 1);
                format!("{name}.nonlinear.batchnorm")
            };
            if let Some(norm) = norm {
                self.keep_norm(norm, &name)?;
            }
        }
        match norms.next() {
            Some(norm) => self.keep_norm(norm, "xvector.out_nonlinear.batchnorm"),
            None => Ok(()),
        }
    }

    /// Output and input channels of a convolution.
    fn channels(&self, conv: &Node) -> [usize; 2] {
        match self.graph.initializers.shape(&conv.inputs[1]) {
            Some(&[outputs, inputs, ..]) => [outputs, inputs],
            _ => [0, 0],
        }
    }

    /// Frames that a time convolution sees.
    fn kernel(&self, conv: &Node) -> usize {
        let shape = self.graph.initializers.shape(&conv.inputs[1]);
        shape.and_then(|shape| shape.last().copied()).unwrap_or(0)
    }

    fn block(
        &mut self,
        name: &str,
        [first, second]: [&Node; 2],
        around: Option<&Node>,
    ) -> Result<(), InferError> {
        self.copy(first, &format!("{name}.conv1"), &format!("{name}.bn1"))?;
        self.copy(second, &format!("{name}.conv2"), &format!("{name}.bn2"))?;
        match around {
            Some(conv) => {
                let (conv_name, norm) =
                    (format!("{name}.shortcut.0"), format!("{name}.shortcut.1"));
                self.copy(conv, &conv_name, &norm)
            }
            None => Ok(()),
        }
    }

    /// Keeps the tensors of a convolution, and of the batch norm after it.
    fn copy(&mut self, conv: &Node, name: &str, norm: &str) -> Result<(), InferError> {
        let names = [format!("{name}.weight"), format!("{name}.bias")];
        self.keep(conv, &names.each_ref().map(String::as_str))?;
        match self.norm_after(conv) {
            Some(after) => self.keep_norm(after, norm),
            None => Ok(()),
        }
    }

    /// The batch norm that a convolution feeds and nothing else.
    fn norm_after(&self, conv: &Node) -> Option<&'a Node> {
        let user = *self.users.get(conv.outputs.first()?.as_str())?;
        (user.op_type == "BatchNormalization").then_some(user)
    }

    fn keep_norm(&mut self, node: &Node, name: &str) -> Result<(), InferError> {
        let parts = ["weight", "bias", "running_mean", "running_var"];
        let names = parts.map(|part| format!("{name}.{part}"));
        self.keep(node, &names.each_ref().map(String::as_str))
    }

    /// Keeps a node's inputs after the first under these names, as many as there are.
    fn keep(&mut self, node: &Node, names: &[&str]) -> Result<(), InferError> {
        for (input, name) in node.inputs.iter().skip(1).zip(names) {
            let tensor = self.graph.initializers.tensor(input)?;
            self.values += tensor.data.len();
            if self.values > MOST_VALUES {
                let message = "a network of more than 128 million values is not supported";
                let path = self.graph.initializers.path();
                return Err(InferError::new(InferErrorKind::Unsupported, path, message));
            }
            self.tensors.insert((*name).to_owned(), tensor.clone());
        }
        Ok(())
    }
}

/// For each tensor that one node alone uses, and that as its first input: that node.
fn only_users(graph: &OnnxGraph) -> BTreeMap<&str, &Node> {
    let mut users: BTreeMap<&str, Option<&Node>> = BTreeMap::new();
    for node in &graph.nodes {
        for (at, input) in node.inputs.iter().enumerate() {
            let user = (at == 0).then_some(node);
            users
                .entry(input)
                .and_modify(|user| *user = None)
                .or_insert(user);
        }
    }
    let only = users.into_iter();
    only.filter_map(|(name, user)| Some((name, user?)))
        .collect()
}
