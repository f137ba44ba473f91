"""Writes a checkpoint of train.py as a Hugging Face Whisper folder: f16 weights, configuration, tokenizer.

python export.py RUN/checkpoint.pt FOLDER
"""
import json, pathlib, sys
import torch
from safetensors.torch import save_file
from model import CONFIG as C
from tokens import CTC, EOT, IDS, SPECIAL, VOCAB, tokenizer_json

# Decoder (layer, head) pairs whose attention follows time best: training/heads.py.
ALIGNMENT_HEADS = json.loads((pathlib.Path(__file__).parent / "heads.json").read_text())


def main():
    checkpoint, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    saved = torch.load(checkpoint, weights_only=False, map_location="cpu")
    tensors = {f"model.{n}": t.half().contiguous() for n, t in saved["model"].items() if not n.startswith("ctc.")}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    suppress = [i for i in range(len(IDS)) if i != EOT and i not in CTC]  # what no training text contains
    write = lambda name, value: (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf8")
    write("config.json", dict(
        architectures=["WhisperForConditionalGeneration"], model_type="whisper", vocab_size=len(IDS), num_mel_bins=C["mels"], d_model=C["d_model"],
        encoder_layers=C["encoder_layers"], encoder_attention_heads=C["heads"], encoder_ffn_dim=C["ffn"], decoder_layers=C["decoder_layers"],
        decoder_attention_heads=C["heads"], decoder_ffn_dim=C["ffn"], max_source_positions=C["audio_ctx"], max_target_positions=C["text_ctx"],
        activation_function="gelu", scale_embedding=False, tie_word_embeddings=True, bos_token_id=EOT, eos_token_id=EOT, pad_token_id=EOT,
        decoder_start_token_id=IDS["<|startoftranscript|>"], torch_dtype="float16"))
    write("generation_config.json", dict(
        alignment_heads=ALIGNMENT_HEADS, suppress_tokens=suppress, begin_suppress_tokens=[EOT], is_multilingual=True, no_timestamps_token_id=IDS["<|notimestamps|>"],
        lang_to_id={s: IDS[s] for s in SPECIAL if len(s) == 6}, task_to_id={t: IDS[f"<|{t}|>"] for t in ("transcribe", "translate")},
        decoder_start_token_id=IDS["<|startoftranscript|>"], eos_token_id=EOT, pad_token_id=EOT, max_length=C["text_ctx"]))
    write("preprocessor_config.json", dict(
        feature_extractor_type="WhisperFeatureExtractor", feature_size=C["mels"], sampling_rate=16000, hop_length=C["hop"], n_fft=400,
        chunk_length=C["seconds"], n_samples=C["seconds"] * 16000, nb_max_frames=C["seconds"] * 16000 // C["hop"], padding_value=0.0))
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf8")
    print(folder, sum(f.stat().st_size for f in folder.iterdir()), "bytes, heard", round(saved["heard"], 1), "h, step", saved["step"])


if __name__ == "__main__":
    main()
