//! Forced alignment: the trellis against torchaudio's, the network against transformers', words against known times.

mod network;
mod tone_network;
mod trellis;
mod words;
