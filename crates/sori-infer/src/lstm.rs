//! Long short-term memory (Hochreiter & Schmidhuber 1997, as `torch.nn.LSTM`) in f32, over a batch of sequences at once.

use rten_simd::SimdUnaryOp;
use rten_tensor::NdTensorView;
use rten_vecmath::{Sigmoid, Tanh};

use crate::error::{InferError, InferErrorKind};
use crate::linear::{Keep, Linear};
use crate::weights::Tensors;

/// Steps whose share from the input is computed with one product: enough rows for the product to run at full speed, few
/// enough for the result to stay in a core's cache.
const STEPS: usize = 32;

/// The way in which a layer reads its sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the first step to the last.
    Forward,
    /// From the last step to the first.
    Backward,
}

/// The tensors of one direction of one layer, in PyTorch's layout: the rows are the gates i, f, g, o of `hidden` units each.
#[derive(Clone, Copy, Debug)]
pub struct LstmTensors<'a> {
    /// `weight_ih`, shape `(4 × hidden, inputs)`.
    pub input: &'a [f32],
    /// `weight_hh`, shape `(4 × hidden, hidden)`.
    pub recurrent: &'a [f32],
    /// `bias_ih + bias_hh`, shape `(4 × hidden)`.
    pub bias: &'a [f32],
}

/// One direction of one layer.
pub struct Lstm {
    hidden: usize,
    direction: Direction,
    /// One product per part of the input.
    inputs: Vec<Linear>,
    recurrent: Linear,
}

impl Lstm {
    /// Packs the tensors of a layer whose input comes in parts of these widths: one, or the two directions of the layer
    /// before it.
    ///
    /// # Panics
    /// When the tensors do not have the lengths that `bias` and the widths imply: the loader has checked that.
    pub fn new(tensors: LstmTensors, widths: &[usize], direction: Direction) -> Self {
        let hidden = tensors.bias.len() / 4;
        let width: usize = widths.iter().sum();
        assert_eq!(tensors.input.len(), 4 * hidden * width);
        assert_eq!(tensors.recurrent.len(), 4 * hidden * hidden);
        // The three sigmoids side by side: i, f, o, g.
        let rows = |columns: std::ops::Range<usize>, weight: &[f32], width: usize| {
            let mut out = Vec::with_capacity(4 * hidden * columns.len());
            for gate in [0, 1, 3, 2] {
                for row in weight[gate * hidden * width..][..hidden * width].chunks_exact(width) {
                    out.extend_from_slice(&row[columns.clone()]);
                }
            }
            out
        };
        let mut bias = Some(rows(0..1, tensors.bias, 1));
        let mut from = 0;
        let inputs = widths.iter().map(|&part| {
            let weight = rows(from..from + part, tensors.input, width);
            from += part;
            Linear::new(&weight, part, bias.take())
        });
        Self {
            hidden,
            direction,
            inputs: inputs.collect(),
            recurrent: Linear::new(&rows(0..hidden, tensors.recurrent, hidden), hidden, None),
        }
    }

    /// The layer of the tensors `lstm.weight_ih_{layer}` and its three siblings, as `torch.nn.LSTM` names them: `l0`,
    /// `l0_reverse` and so on.
    ///
    /// # Errors
    /// `Missing` or `Shape` when they are not there, or not those of a layer with input of these widths.
    pub fn load(
        tensors: &Tensors,
        layer: &str,
        widths: &[usize],
        direction: Direction,
    ) -> Result<Self, InferError> {
        let name = |part: &str| format!("lstm.{part}_{layer}");
        let rows = tensors.tensor(&name("bias_ih"))?.data.len();
        if rows == 0 || !rows.is_multiple_of(4) {
            let message = format!("the LSTM {layer} has {rows} gate rows: this is another network");
            let path = tensors.path();
            return Err(InferError::new(InferErrorKind::Shape, path, message));
        }
        let biases = tensors.get(&name("bias_ih"), &[rows])?.iter();
        let biases = biases.zip(tensors.get(&name("bias_hh"), &[rows])?);
        let bias: Vec<f32> = biases.map(|(input, recurrent)| input + recurrent).collect();
        let weights = LstmTensors {
            input: tensors.get(&name("weight_ih"), &[rows, widths.iter().sum()])?,
            recurrent: tensors.get(&name("weight_hh"), &[rows, rows / 4])?,
            bias: &bias,
        };
        Ok(Self::new(weights, widths, direction))
    }

    /// Units of the layer: columns of its output.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// The hidden states `(steps, batch, hidden)`, from a state of zeros, for an input whose parts have the shape
    /// `(steps, batch, width of the part)`. Allocates the result and about a hundred rows of gates.
    pub fn run(&self, parts: &[&[f32]], batch: usize) -> Vec<f32> {
        let (hidden, gates) = (self.hidden, 4 * self.hidden * batch);
        let widths: Vec<usize> = self
            .inputs
            .iter()
            .zip(parts)
            .map(|(linear, _)| linear.inputs())
            .collect();
        let steps = parts[0].len() / (widths[0] * batch);
        let mut out = vec![0.0; steps * batch * hidden];
        let mut state = vec![0.0; batch * hidden];
        let mut cell = vec![0.0; batch * hidden];
        let mut shares = vec![0.0; STEPS.min(steps) * gates];
        let mut blocks: Vec<_> = (0..steps)
            .step_by(STEPS)
            .map(|from| from..(from + STEPS).min(steps))
            .collect();
        if self.direction == Direction::Backward {
            blocks.reverse();
        }
        for block in blocks {
            let shares = &mut shares[..block.len() * gates];
            for (part, linear) in self.inputs.iter().enumerate() {
                let row = widths[part] * batch;
                let input = &parts[part][block.start * row..block.end * row];
                let keep = if part == 0 {
                    Keep::Nothing
                } else {
                    Keep::Output
                };
                let view = NdTensorView::from_data([block.len() * batch, widths[part]], input);
                linear.multiply(view, keep, shares);
            }
            let mut order: Vec<_> = block.clone().zip(shares.chunks_exact_mut(gates)).collect();
            if self.direction == Direction::Backward {
                order.reverse();
            }
            for (step, gates) in order {
                let view = NdTensorView::from_data([batch, hidden], state.as_slice());
                self.recurrent.multiply(view, Keep::Output, gates);
                advance(gates, &mut cell, &mut state, hidden);
                out[step * batch * hidden..][..batch * hidden].copy_from_slice(&state);
            }
        }
        out
    }
}

/// One step: from the gates `(batch, 4 × hidden)` in the order i, f, o, g to the next cells and states `(batch, hidden)`.
fn advance(gates: &mut [f32], cell: &mut [f32], state: &mut [f32], hidden: usize) {
    let rows = cell
        .chunks_exact_mut(hidden)
        .zip(state.chunks_exact_mut(hidden));
    for (gates, (cell, state)) in gates.chunks_exact_mut(4 * hidden).zip(rows) {
        let (switches, candidates) = gates.split_at_mut(3 * hidden);
        Sigmoid {}.map_mut(switches);
        Tanh {}.map_mut(candidates);
        let (take, rest) = switches.split_at(hidden);
        let (keep, show) = rest.split_at(hidden);
        for (((cell, &keep), &take), &candidate) in
            cell.iter_mut().zip(keep).zip(take).zip(&*candidates)
        {
            *cell = keep * *cell + take * candidate;
        }
        state.copy_from_slice(cell);
        Tanh {}.map_mut(state);
        for (state, show) in state.iter_mut().zip(show) {
            *state *= show;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize, frequency: f32) -> Vec<f32> {
        (0..count)
            .map(|i| (i as f32 * frequency).sin() * 0.6)
            .collect()
    }

    /// The equations of `torch.nn.LSTM`'s page, one sequence `(steps, inputs)`, forward.
    fn plain(tensors: LstmTensors, input: &[f32], hidden: usize) -> Vec<f32> {
        let width = tensors.input.len() / (4 * hidden);
        let (mut h, mut c) = (vec![0.0; hidden], vec![0.0f32; hidden]);
        let mut out = Vec::new();
        for x in input.chunks_exact(width) {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let gate = |gate: usize, unit: usize| {
                let row = gate * hidden + unit;
                dot(&tensors.input[row * width..][..width], x)
                    + dot(&tensors.recurrent[row * hidden..][..hidden], &h)
                    + tensors.bias[row]
            };
            let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
            let next: Vec<f32> = (0..hidden)
                .map(|u| {
                    c[u] = sigmoid(gate(1, u)) * c[u] + sigmoid(gate(0, u)) * gate(2, u).tanh();
                    sigmoid(gate(3, u)) * c[u].tanh()
                })
                .collect();
            h = next;
            out.extend_from_slice(&h);
        }
        out
    }

    #[track_caller]
    fn check(steps: usize, batch: usize, widths: &[usize], hidden: usize) {
        let width: usize = widths.iter().sum();
        let (input, recurrent, bias) = (
            wave(4 * hidden * width, 0.7),
            wave(4 * hidden * hidden, 1.3),
            wave(4 * hidden, 0.37),
        );
        let tensors = LstmTensors {
            input: &input,
            recurrent: &recurrent,
            bias: &bias,
        };
        let parts: Vec<Vec<f32>> = widths
            .iter()
            .map(|w| wave(steps * batch * w, 0.11 + *w as f32))
            .collect();
        let views: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
        for direction in [Direction::Forward, Direction::Backward] {
            let found = Lstm::new(tensors, widths, direction).run(&views, batch);
            for b in 0..batch {
                let mut order: Vec<usize> = (0..steps).collect();
                if direction == Direction::Backward {
                    order.reverse();
                }
                let sequence: Vec<f32> = order
                    .iter()
                    .flat_map(|t| {
                        parts.iter().zip(widths).flat_map(move |(part, w)| {
                            part[(t * batch + b) * w..][..*w].iter().copied()
                        })
                    })
                    .collect();
                let want = plain(tensors, &sequence, hidden);
                for (row, t) in want.chunks_exact(hidden).zip(&order) {
                    let found = &found[(t * batch + b) * hidden..][..hidden];
                    for (a, w) in found.iter().zip(row) {
                        assert!((a - w).abs() < 1e-5, "{direction:?} {t} {b}: {a} {w}");
                    }
                }
            }
        }
    }

    #[test]
    fn equals_the_equations_at_odd_sizes() {
        for (steps, batch, widths, hidden) in [
            (1, 1, &[3][..], 1),
            (70, 3, &[5, 5], 5),
            (33, 1, &[40], 24),
            (40, 2, &[17, 16], 33),
        ] {
            check(steps, batch, widths, hidden);
        }
    }

    #[test]
    fn no_steps_are_no_states() {
        let tensors = LstmTensors {
            input: &[0.0; 8],
            recurrent: &[0.0; 16],
            bias: &[0.0; 8],
        };
        let layer = Lstm::new(tensors, &[1], Direction::Forward);
        assert!(layer.run(&[&[]], 1).is_empty());
    }
}
