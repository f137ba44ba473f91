//! From the scores of a segmentation network to masks: which local speakers are heard in each frame.

/// The mask of every class of a powerset head, in its order: nobody, each speaker alone, each pair, … up to `at_once`
/// together. Bit `s` is local speaker `s`; at most eight speakers. (Plaquet and Bredin 2023; pyannote/audio/utils/powerset.py)
pub fn powerset_classes(speakers: usize, at_once: usize) -> Vec<u8> {
    let sets = 0..1u16 << speakers.min(8);
    let mut classes: Vec<u8> = sets
        .map(|set| set as u8)
        .filter(|set| set.count_ones() as usize <= at_once)
        .collect();
    // Sets of one size in the order of their sorted members: the lowest member that differs decides.
    classes.sort_by_key(|set| (set.count_ones(), std::cmp::Reverse(set.reverse_bits())));
    classes
}

/// The mask of each frame for scores `(frames, classes)`: the class with the highest score, the first of equals.
pub fn powerset_masks(scores: &[f32], classes: &[u8]) -> Vec<u8> {
    scores
        .chunks_exact(classes.len())
        .map(|frame| {
            let mut best = 0;
            for (class, score) in frame.iter().enumerate() {
                if *score > frame[best] {
                    best = class;
                }
            }
            classes[best]
        })
        .collect()
}

/// The probability that each speaker talks `(frames, speakers)`, for natural logarithms of the probabilities of the classes
/// `(frames, classes)`: the sum over the classes that hold it.
pub fn powerset_chances(scores: &[f32], classes: &[u8], speakers: usize) -> Vec<f32> {
    let frames = scores.chunks_exact(classes.len());
    let chance = |frame: &[f32], speaker: usize| -> f32 {
        let holds = |class: &u8| class & (1 << speaker) != 0;
        let with = classes.iter().zip(frame).filter(|(class, _)| holds(class));
        with.map(|(_, score)| score.exp()).sum::<f32>().min(1.0)
    };
    frames
        .flat_map(|frame| (0..speakers).map(move |speaker| chance(frame, speaker)))
        .collect()
}

/// The mask of each frame for probabilities `(frames, speakers)`, at most eight speakers, with hysteresis: a speaker
/// begins above `onset` and ends below `offset`. All are silent before the first frame.
pub fn sigmoid_masks(scores: &[f32], speakers: usize, onset: f32, offset: f32) -> Vec<u8> {
    let mut mask = 0u8;
    scores
        .chunks_exact(speakers.clamp(1, 8))
        .map(|frame| {
            for (speaker, &score) in frame.iter().enumerate() {
                if score > onset {
                    mask |= 1 << speaker;
                } else if score < offset {
                    mask &= !(1 << speaker);
                }
            }
            mask
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_come_by_size_then_by_members() {
        assert_eq!(powerset_classes(3, 2), [0, 1, 2, 4, 3, 5, 6]);
        assert_eq!(powerset_classes(4, 2), [0, 1, 2, 4, 8, 3, 5, 9, 6, 10, 12]);
        assert_eq!(powerset_classes(2, 2), [0, 1, 2, 3]);
        assert_eq!(powerset_classes(3, 1), [0, 1, 2, 4]);
    }

    #[test]
    fn the_first_of_equal_classes_wins() {
        let scores = [0.1, 0.7, 0.7, -1.0, -2.0, -0.5, f32::NAN, f32::NAN, 0.0];
        assert_eq!(powerset_masks(&scores, &[0, 1, 2]), [1, 2, 0]);
    }

    #[test]
    fn a_speaker_talks_with_the_sum_of_his_classes() {
        let scores = [0.1f32, 0.2, 0.3, 0.4].map(f32::ln);
        let chances = powerset_chances(&scores, &powerset_classes(2, 2), 2);
        assert!(
            (chances[0] - 0.6).abs() < 1e-6 && (chances[1] - 0.7).abs() < 1e-6,
            "{chances:?}"
        );
    }

    #[test]
    fn between_the_thresholds_nothing_changes() {
        let scores = [0.5, 0.5, 0.7, 0.2, 0.5, 0.5, 0.3, 0.9, 0.5, 0.5];
        assert_eq!(sigmoid_masks(&scores, 2, 0.6, 0.4), [0, 1, 1, 2, 2]);
    }
}
