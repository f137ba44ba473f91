//! Silero's recurrent network (snakers4/silero-vad v5 and v6) as an ONNX file.

use sori_infer::{
    InferError, InferErrorKind,
    runtime::{OnnxModel, Tensor, TensorData},
};

/// Samples in a frame: 32 ms at 16 kHz, the only length the network takes (utils_vad.py, `OnnxWrapper`).
pub(super) const FRAME: usize = 512;
/// Samples of the frame before that the network sees in front of a frame.
const CONTEXT: usize = 64;
/// Layers, streams and units of the network's memory.
const STATE: [usize; 3] = [2, 1, 128];

/// The network with the state of one stream.
pub(super) struct Silero {
    model: OnnxModel,
    context: [f32; CONTEXT],
    state: Tensor,
    sample_rate: Tensor,
}

impl Silero {
    pub(super) fn new(model: OnnxModel) -> Self {
        Self {
            model,
            context: [0.0; CONTEXT],
            state: Tensor::f32(&STATE, vec![0.0; STATE.iter().product()]),
            sample_rate: Tensor::i64(&[], vec![super::SAMPLE_RATE.into()]),
        }
    }

    pub(super) fn model(&self) -> &OnnxModel {
        &self.model
    }

    /// Puts the stream at its start.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.model.clone());
    }

    /// The probability of speech in a frame of [`FRAME`] samples.
    pub(super) fn predict(&mut self, frame: &[f32]) -> Result<f32, InferError> {
        let samples = [&self.context, frame].concat();
        self.context.copy_from_slice(&frame[FRAME - CONTEXT..]);
        let input = Tensor::f32(&[1, CONTEXT + FRAME], samples);
        let inputs = [
            ("input", &input),
            ("state", &self.state),
            ("sr", &self.sample_rate),
        ];
        let outputs = self.model.run(&inputs, &["output", "stateN"])?;
        match <[Tensor; 2]>::try_from(outputs) {
            Ok(
                [
                    Tensor {
                        data: TensorData::F32(probability),
                        ..
                    },
                    state,
                ],
            ) if state.shape == STATE && state.as_f32().is_some() => {
                self.state = state;
                let probability = probability.first().copied().filter(|p| p.is_finite());
                probability.ok_or_else(|| self.foreign())
            }
            _ => Err(self.foreign()),
        }
    }

    fn foreign(&self) -> InferError {
        let message = "not Silero's voice activity network (version 5 or 6)";
        InferError::new(InferErrorKind::Foreign, self.model.path(), message)
    }
}
