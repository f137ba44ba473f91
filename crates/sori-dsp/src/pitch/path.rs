//! The best way through the candidates of all frames (`Pitch_pathFinder`; Viterbi).

use super::candidates::{Candidate, Candidates};

/// Strength of a candidate below which a frame of full level is not voiced. This and the following are Praat's standard.
pub(super) const VOICING_THRESHOLD: f32 = 0.45;
/// Share of what is loud below which a frame tends to be unvoiced.
const SILENCE_THRESHOLD: f32 = 0.03;
/// Price of an octave below the ceiling: of two perfect periods the shorter is meant.
pub(super) const OCTAVE_COST: f32 = 0.01;
/// Price of a jump by an octave from one frame to the next, 10 ms later.
const OCTAVE_JUMP_COST: f32 = 0.35;
/// Price of a change between voiced and unvoiced.
pub(super) const VOICED_UNVOICED_COST: f32 = 0.14;

/// What not being voiced is worth in a frame of this level (peak over what is loud, 0 to 1).
pub(super) fn unvoiced_strength(intensity: f32) -> f32 {
    let quiet = 2.0 - intensity / (SILENCE_THRESHOLD / (1.0 + VOICING_THRESHOLD));
    VOICING_THRESHOLD + quiet.max(0.0)
}

/// A state of a frame on the path: unvoiced, or at one of its candidates.
struct State {
    /// log2 of the pitch; `None` when unvoiced.
    octave: Option<f32>,
    /// Worth of the best path that ends here.
    worth: f32,
    /// Index of the state before on that path.
    from: u8,
}

/// The index of the candidate that each frame takes; `None` where it is not voiced.
pub(super) fn best(found: &Candidates, ceiling_hz: f32, frame_seconds: f32) -> Vec<Option<usize>> {
    // Costs are meant for frames 10 ms apart.
    let correction = 0.01 / frame_seconds;
    let jump = OCTAVE_JUMP_COST * correction;
    let change = VOICED_UNVOICED_COST * correction;
    let top = ceiling_hz.log2();
    let mut states: Vec<State> = Vec::with_capacity(found.intensity.len() * 4);
    let mut starts = Vec::with_capacity(found.intensity.len());
    let mut before = 0..0;
    for (frame, &intensity) in found.intensity.iter().enumerate() {
        let start = states.len();
        let enter = |states: &mut Vec<State>, octave: Option<f32>, strength: f32| {
            let mut best = (f32::NEG_INFINITY, 0);
            for (from, state) in states[before.clone()].iter().enumerate() {
                let cost = match (state.octave, octave) {
                    (None, None) => 0.0,
                    (Some(one), Some(other)) => jump * (one - other).abs(),
                    _ => change,
                };
                if state.worth - cost > best.0 {
                    best = (state.worth - cost, from);
                }
            }
            let (worth, from) = if before.is_empty() { (0.0, 0) } else { best };
            states.push(State {
                octave,
                worth: worth + strength,
                from: from as u8,
            });
        };
        enter(&mut states, None, unvoiced_strength(intensity));
        for &Candidate { hz, strength } in found.frame(frame) {
            let octave = hz.log2();
            enter(
                &mut states,
                Some(octave),
                strength - OCTAVE_COST * (top - octave),
            );
        }
        starts.push(start);
        before = start..states.len();
    }
    let mut at = before
        .max_by(|&one, &other| {
            states[one]
                .worth
                .total_cmp(&states[other].worth)
                .then(other.cmp(&one))
        })
        .unwrap_or(0);
    let mut chosen = vec![None; starts.len()];
    for frame in (0..starts.len()).rev() {
        chosen[frame] = (at - starts[frame]).checked_sub(1);
        if frame > 0 {
            at = starts[frame - 1] + usize::from(states[at].from);
        }
    }
    chosen
}
