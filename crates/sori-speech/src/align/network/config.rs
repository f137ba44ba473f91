//! What a checkpoint's folder says of its network.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sori_infer::{InferError, InferErrorKind};

/// `config.json` of a `Wav2Vec2ForCTC` (transformers, `configuration_wav2vec2.py`, whose defaults these are).
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(in super::super) struct Config {
    pub model_type: String,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub hidden_act: String,
    pub layer_norm_eps: f64,
    pub feat_extract_norm: String,
    pub feat_extract_activation: String,
    pub conv_dim: Vec<usize>,
    pub conv_stride: Vec<usize>,
    pub conv_kernel: Vec<usize>,
    pub conv_bias: bool,
    pub num_conv_pos_embeddings: usize,
    pub num_conv_pos_embedding_groups: usize,
    pub conv_pos_batch_norm: bool,
    pub do_stable_layer_norm: bool,
    pub add_adapter: bool,
    pub adapter_attn_dim: Option<usize>,
    pub pad_token_id: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model_type: "wav2vec2".to_owned(),
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".to_owned(),
            layer_norm_eps: 1e-5,
            feat_extract_norm: "group".to_owned(),
            feat_extract_activation: "gelu".to_owned(),
            conv_dim: vec![512; 7],
            conv_stride: vec![5, 2, 2, 2, 2, 2, 2],
            conv_kernel: vec![10, 3, 3, 3, 3, 2, 2],
            conv_bias: false,
            num_conv_pos_embeddings: 128,
            num_conv_pos_embedding_groups: 16,
            conv_pos_batch_norm: false,
            do_stable_layer_norm: false,
            add_adapter: false,
            adapter_attn_dim: None,
            pad_token_id: Some(0),
        }
    }
}

/// The most channels, units, heads, layers or tokens that a network may have.
const MAX_SIZE: usize = 1 << 16;
/// The most samples that one frame may stand for or step over: ten seconds.
const MAX_FIELD: usize = 160_000;

impl Config {
    /// Reads and checks `config.json`.
    pub(in super::super) fn open(folder: &Path) -> Result<Self, InferError> {
        let path = folder.join("config.json");
        let config: Self = json(&path)?;
        config
            .check()
            .map_err(|message| InferError::new(InferErrorKind::Unsupported, &path, message))?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if self.model_type != "wav2vec2" {
            let message = "is not aligned with: give a CTC model of type wav2vec2";
            return Err(format!("model_type {:?} {message}", self.model_type));
        }
        let fixed = [
            ("hidden_act", self.hidden_act == "gelu"),
            (
                "feat_extract_activation",
                self.feat_extract_activation == "gelu",
            ),
            (
                "feat_extract_norm",
                ["group", "layer"].contains(&&*self.feat_extract_norm),
            ),
            ("layer_norm_eps", (self.layer_norm_eps - 1e-5).abs() < 1e-9),
            ("conv_pos_batch_norm", !self.conv_pos_batch_norm),
            ("add_adapter", !self.add_adapter),
            (
                "adapter_attn_dim",
                self.adapter_attn_dim.is_none() || self.do_stable_layer_norm,
            ),
        ];
        if let Some((key, _)) = fixed.iter().find(|(_, fits)| !fits) {
            return Err(format!(
                "this value of {key} is not supported: export the model to ONNX"
            ));
        }
        let layers = self.conv_dim.len();
        if !(1..=16).contains(&layers)
            || layers != self.conv_stride.len()
            || layers != self.conv_kernel.len()
        {
            return Err("conv_dim, conv_stride and conv_kernel differ in length".to_owned());
        }
        let numbers = [
            self.hidden_size,
            self.num_attention_heads,
            self.intermediate_size,
            self.num_conv_pos_embeddings,
            self.num_conv_pos_embedding_groups,
            self.adapter_attn_dim.unwrap_or(1),
        ];
        let mut sizes = numbers
            .iter()
            .chain(&self.conv_dim)
            .chain(&self.conv_stride);
        let whole = self.hidden_size.checked_rem(self.num_attention_heads) == Some(0)
            && self
                .hidden_size
                .checked_rem(self.num_conv_pos_embedding_groups)
                == Some(0);
        let mut kernels = self.conv_kernel.iter().zip(&self.conv_stride);
        if !sizes.all(|size| (1..MAX_SIZE).contains(size))
            || !whole
            || !kernels.all(|(kernel, stride)| kernel >= stride)
            || self.num_hidden_layers > 1024
            || self.framing().is_none()
        {
            return Err("the sizes contradict each other: download it again".to_owned());
        }
        Ok(())
    }

    /// The samples from one frame to the next and those that one frame hears; `None` beyond reason.
    pub(in super::super) fn framing(&self) -> Option<Framing> {
        let (mut stride, mut field) = (1usize, 1usize);
        for (&kernel, &step) in self.conv_kernel.iter().zip(&self.conv_stride) {
            field = field.checked_add((kernel - 1).checked_mul(stride)?)?;
            stride = stride.checked_mul(step)?;
        }
        let reasonable = stride <= MAX_FIELD && field <= MAX_FIELD;
        reasonable.then_some(Framing { stride, field })
    }
}

/// How frames lie on the sound: frame `i` hears `field` samples from `i · stride` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Framing {
    pub stride: usize,
    pub field: usize,
}

impl Framing {
    /// Frames that so many samples give.
    pub(in super::super) fn frames(self, samples: usize) -> usize {
        samples
            .checked_sub(self.field)
            .map_or(0, |room| room / self.stride + 1)
    }
}

/// Reads a JSON file.
pub(in super::super) fn json<T: DeserializeOwned>(path: &Path) -> Result<T, InferError> {
    let bytes = fs::read(path).map_err(|error| InferError::io(path, error))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let message = "not the JSON that this file should be: download it again";
        InferError::new(InferErrorKind::Damaged, path, message).caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_as_the_network_makes_them() {
        let framing = Config::default()
            .framing()
            .expect("the sizes are the published ones");
        assert_eq!(
            framing,
            Framing {
                stride: 320,
                field: 400
            }
        );
        for (samples, frames) in [(0, 0), (399, 0), (400, 1), (719, 1), (720, 2), (16_000, 49)] {
            assert_eq!(framing.frames(samples), frames, "{samples}");
        }
    }

    #[test]
    fn other_networks_are_refused_by_the_key() {
        type Break = fn(&mut Config);
        let broken: [(&str, Break); 8] = [
            ("model_type", |c| c.model_type = "wavlm".to_owned()),
            ("hidden_act", |c| c.hidden_act = "relu".to_owned()),
            ("layer_norm_eps", |c| c.layer_norm_eps = 1e-12),
            ("add_adapter", |c| c.add_adapter = true),
            ("length", |c| c.conv_dim.truncate(3)),
            ("contradict", |c| c.num_attention_heads = 0),
            ("contradict", |c| c.conv_stride = vec![1 << 15; 7]),
            ("contradict", |c| c.hidden_size = usize::MAX),
        ];
        assert_eq!(Config::default().check(), Ok(()));
        for (word, change) in broken {
            let mut config = Config::default();
            change(&mut config);
            let message = config.check().expect_err(word);
            assert!(message.contains(word), "{message}");
        }
    }
}
