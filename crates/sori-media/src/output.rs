//! From decoded planes to the chosen channels at the output rate.

use sori_dsp::Resampler;

use crate::options::Channels;

/// Chosen channels on their way to the output rate.
#[derive(Default)]
pub(crate) struct Output {
    pub(crate) rate_hz: u32,
    pub(crate) resamplers: Vec<Resampler>,
    pub(crate) ready: Vec<Vec<f32>>,
    pub(crate) mixed: Vec<f32>,
}

impl Output {
    /// Samples ready at the output rate.
    pub(crate) fn len(&self) -> usize {
        self.ready.first().map_or(0, Vec::len)
    }

    /// Takes the frames of `planes` from `from` on; true when some were not finite.
    pub(crate) fn push(&mut self, planes: &[Vec<f32>], from: usize, channels: Channels) -> bool {
        let mut broken = false;
        let last = planes.len() - 1;
        for (index, resampler) in self.resamplers.iter_mut().enumerate() {
            self.mixed.clear();
            match channels {
                Channels::Mix => {
                    self.mixed.extend_from_slice(&planes[0][from..]);
                    for plane in &planes[1..] {
                        self.mixed
                            .iter_mut()
                            .zip(&plane[from..])
                            .for_each(|(sum, sample)| *sum += sample);
                    }
                    let scale = 1.0 / planes.len() as f32;
                    self.mixed.iter_mut().for_each(|sample| *sample *= scale);
                }
                Channels::Left => self.mixed.extend_from_slice(&planes[0][from..]),
                Channels::Right => self.mixed.extend_from_slice(&planes[last.min(1)][from..]),
                Channels::Each => self
                    .mixed
                    .extend_from_slice(&planes[last.min(index)][from..]),
            }
            for sample in &mut self.mixed {
                if !sample.is_finite() {
                    *sample = 0.0;
                    broken = true;
                }
            }
            resampler.push(&self.mixed, &mut self.ready[index]);
        }
        broken
    }

    pub(crate) fn push_silence(&mut self, frames: usize) {
        self.mixed.clear();
        self.mixed.resize(frames, 0.0);
        for (resampler, ready) in self.resamplers.iter_mut().zip(&mut self.ready) {
            resampler.push(&self.mixed, ready);
        }
    }

    pub(crate) fn finish(&mut self) {
        for (resampler, ready) in self.resamplers.iter_mut().zip(&mut self.ready) {
            resampler.finish(ready);
        }
    }
}
