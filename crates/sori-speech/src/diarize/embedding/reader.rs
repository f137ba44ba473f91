//! The tensors of an embedding network by the names of its training, with batch norms folded in.

use sori_infer::conv::{Conv1d, Conv1dShape, Conv2d, ConvShape};
use sori_infer::linear::Linear;
use sori_infer::weights::Tensors;
use sori_infer::{InferError, InferErrorKind};

/// `torch.nn.BatchNorm1d`'s and `BatchNorm2d`'s default.
const EPSILON: f32 = 1e-5;

/// The tensors whose names begin with a prefix.
pub(super) struct Reader<'a> {
    tensors: &'a Tensors,
    prefix: &'a str,
}

/// A factor and an offset for each column.
pub(super) struct Scaling {
    pub(super) scales: Vec<f32>,
    pub(super) offsets: Vec<f32>,
}

impl<'a> Reader<'a> {
    /// The network that has a tensor of this name, whatever is before it; `None` when there is none.
    pub(super) fn find(tensors: &'a Tensors, name: &str) -> Option<Self> {
        let prefix = tensors.names().find_map(|found| found.strip_suffix(name))?;
        Some(Self { tensors, prefix })
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains(&self.full(name))
    }

    /// The sizes of a tensor that has as many axes.
    pub(super) fn sizes<const N: usize>(&self, name: &str) -> Result<[usize; N], InferError> {
        let full = self.full(name);
        let shape = &self.tensors.tensor(&full)?.shape;
        match <[usize; N]>::try_from(shape.as_slice()) {
            Ok(sizes) if !sizes.contains(&0) => Ok(sizes),
            _ => Err(self.foreign(&format!("{full} has the shape {shape:?}"))),
        }
    }

    /// The values of a tensor of this shape.
    pub(super) fn get(&self, name: &str, shape: &[usize]) -> Result<&'a [f32], InferError> {
        self.tensors.get(&self.full(name), shape)
    }

    /// An error about the file: what is in it does not fit.
    pub(super) fn foreign(&self, message: &str) -> InferError {
        let message = format!("{message}: this is another network");
        InferError::new(InferErrorKind::Shape, self.tensors.path(), message)
    }

    /// An error about a variant of the network.
    pub(super) fn unsupported(&self, message: &str) -> InferError {
        InferError::new(InferErrorKind::Unsupported, self.tensors.path(), message)
    }

    /// An error when two counts differ.
    pub(super) fn same(&self, found: usize, expected: usize, name: &str) -> Result<(), InferError> {
        if found == expected {
            return Ok(());
        }
        Err(self.foreign(&format!("{name} does not fit ({found} for {expected})")))
    }

    /// A picture convolution with its batch norm, for the mel stride and the time stride, and the channels that come out.
    ///
    /// Published kernels have mel bands down and time right; the pictures here are turned.
    pub(super) fn picture(
        &self,
        (name, norm): (&str, &str),
        inputs: usize,
        [mel_stride, time_stride]: [usize; 2],
    ) -> Result<(Conv2d, usize), InferError> {
        let weight_name = format!("{name}.weight");
        let [outputs, _, _, kernel] = self.sizes(&weight_name)?;
        if kernel != 1 && kernel != 3 {
            return Err(self.foreign(&format!("{weight_name} has a side of {kernel}")));
        }
        let weight = self.get(&weight_name, &[outputs, inputs, kernel, kernel])?;
        let folded = self.folded(name, norm, outputs)?;
        let area = kernel * kernel;
        let turned: Vec<f32> = weight
            .chunks_exact(area)
            .enumerate()
            .flat_map(|(at, filter)| {
                let scale = folded.scales[at / inputs];
                (0..area).map(move |i| filter[i % kernel * kernel + i / kernel] * scale)
            })
            .collect();
        let shape = ConvShape {
            inputs,
            kernel,
            stride_down: time_stride,
            stride_right: mel_stride,
        };
        Ok((Conv2d::new(&turned, shape, folded.offsets), outputs))
    }

    /// A time convolution with its batch norm; `order` is where each of its inputs is among those of the file.
    pub(super) fn over_time(
        &self,
        (name, norm): (&str, &str),
        shape: Conv1dShape,
        order: impl Fn(usize) -> usize,
    ) -> Result<Conv1d, InferError> {
        let weight_name = format!("{name}.weight");
        let [outputs, _, _] = self.sizes(&weight_name)?;
        let Conv1dShape { inputs, kernel, .. } = shape;
        let weight = self.get(&weight_name, &[outputs, inputs, kernel])?;
        let folded = self.folded(name, norm, outputs)?;
        let ordered: Vec<f32> = weight
            .chunks_exact(inputs * kernel)
            .flat_map(|filter| {
                let order = &order;
                (0..inputs).flat_map(move |c| &filter[order(c) * kernel..][..kernel])
            })
            .copied()
            .collect();
        let scaled = folded.scale(&ordered, inputs * kernel);
        Ok(Conv1d::new(&scaled, shape, Some(folded.offsets)))
    }

    /// A convolution of one frame with its batch norm: a linear layer.
    pub(super) fn linear(
        &self,
        (name, norm): (&str, &str),
        inputs: usize,
    ) -> Result<Linear, InferError> {
        let weight_name = format!("{name}.weight");
        let [outputs, _, _] = self.sizes(&weight_name)?;
        let weight = self.get(&weight_name, &[outputs, inputs, 1])?;
        let folded = self.folded(name, norm, outputs)?;
        let scaled = folded.scale(weight, inputs);
        Ok(Linear::new(&scaled, inputs, Some(folded.offsets)))
    }

    /// A convolution's bias, which may have absorbed a batch norm, or else the batch norm after it.
    fn folded(&self, conv: &str, norm: &str, count: usize) -> Result<Scaling, InferError> {
        let bias = format!("{conv}.bias");
        if self.has(&bias) {
            return Ok(Scaling {
                scales: vec![1.0; count],
                offsets: self.get(&bias, &[count])?.to_vec(),
            });
        }
        self.norm(norm, count)
    }

    /// A batch norm, which need not have a scale and an offset of its own. Without a name: none.
    pub(super) fn norm(&self, norm: &str, count: usize) -> Result<Scaling, InferError> {
        if norm.is_empty() {
            return Ok(Scaling {
                scales: vec![1.0; count],
                offsets: vec![0.0; count],
            });
        }
        let part = |part: &str| self.get(&format!("{norm}.{part}"), &[count]);
        let variances = part("running_var")?;
        let mut scales: Vec<f32> = variances
            .iter()
            .map(|variance| 1.0 / (variance + EPSILON).sqrt())
            .collect();
        let mut offsets = vec![0.0; count];
        if self.has(&format!("{norm}.weight")) {
            for (scale, weight) in scales.iter_mut().zip(part("weight")?) {
                *scale *= weight;
            }
            offsets = part("bias")?.to_vec();
        }
        for ((offset, mean), scale) in offsets.iter_mut().zip(part("running_mean")?).zip(&scales) {
            *offset -= mean * scale;
        }
        Ok(Scaling { scales, offsets })
    }
}

impl Scaling {
    /// A weight whose rows of `width` values are those of the columns.
    fn scale(&self, weight: &[f32], width: usize) -> Vec<f32> {
        let rows = weight.chunks_exact(width).zip(&self.scales);
        rows.flat_map(|(row, scale)| row.iter().map(move |w| w * scale))
            .collect()
    }
}
