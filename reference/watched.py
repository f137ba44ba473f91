"""openai-whisper's decoding task, unchanged, with a note of how close its closest choice was."""

import numpy as np
from whisper.decoding import ApplyTimestampRules, DecodingTask


class Watched(DecodingTask):
    """After `run` (one window at a time), `margin` is the smallest distance, in log-probability, between what was chosen and
    what was not: greedy winner and runner-up, last beam kept and first dropped, final hypothesis and the next, and the two
    sides of the timestamp rule."""

    def __init__(self, model, options):
        super().__init__(model, options)
        self.margin = float("inf")
        self.inner_update, self.decoder.update = self.decoder.update, self.update
        self.inner_rank, self.sequence_ranker.rank = self.sequence_ranker.rank, self.rank
        for rule in self.logit_filters:
            if isinstance(rule, ApplyTimestampRules):
                rule.apply = self.watch_rule(rule, rule.apply)

    def note(self, distance):
        if np.isfinite(distance):
            self.margin = min(self.margin, float(distance))

    def update(self, tokens, logits, sums):
        if self.options.beam_size is None:
            best = logits.topk(2).values[0]
            self.note(best[0] - best[1])
        else:
            self.watch_beams(tokens, logits, sums)
        return self.inner_update(tokens, logits, sums)

    def watch_beams(self, tokens, logits, sums):
        logprobs = logits.log_softmax(-1)
        candidates = {}
        for beam, prefix in enumerate(tokens.tolist()):
            for value, token in zip(*logprobs[beam].topk(self.options.beam_size + 1)):
                candidates[(*prefix, int(token))] = float(sums[beam] + value)
        ranked = sorted(candidates.items(), key=lambda item: -item[1])
        ended = [sequence[-1] == self.tokenizer.eot for sequence, _ in ranked]
        cut = [i for i, end in enumerate(ended) if not end][self.options.beam_size - 1]
        self.note(ranked[cut][1] - ranked[cut + 1][1])
        if ended[cut - 1]:
            self.note(ranked[cut - 1][1] - ranked[cut][1])

    def rank(self, tokens, sums):
        for group, logprobs in zip(tokens, sums):
            alpha = self.options.length_penalty
            divisors = [len(t) if alpha is None else ((5 + len(t)) / 6) ** alpha for t in group]
            scores = sorted(((s / d, d) for s, d in zip(logprobs, divisors)), reverse=True)
            if len(scores) > 1:
                self.note((scores[0][0] - scores[1][0]) * scores[0][1])
        return self.inner_rank(tokens, sums)

    def watch_rule(self, rule, apply):
        first, eot = self.tokenizer.timestamp_begin, self.tokenizer.eot

        def watched(logits, tokens):
            before = logits.clone()
            before[:, self.tokenizer.no_timestamps] = -np.inf
            apply(logits, tokens)
            if tokens.shape[1] == self.sample_begin:
                return
            for row, sequence in enumerate(tokens[:, self.sample_begin :].tolist()):
                text = before[row, :first]
                if sequence[-1] >= first and not (len(sequence) < 2 or sequence[-2] >= first):
                    text = text[eot:]
                self.note((logits[row, first:].logsumexp(-1) - text.max()).abs())

        return watched
