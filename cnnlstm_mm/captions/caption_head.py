"""Caption head: loss and sentences from the encoder's steps."""

from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional as F

from cnnlstm_mm.models.feature_input import Feature, PaddedFeature, select_feature
from cnnlstm_mm.models.stepping import State
from cnnlstm_mm.options import check_choice, check_fraction, check_int, check_number
from mmaction.registry import MODELS
from mmaction.utils import SampleList

from .beam_search import Hypothesis, beam_search
from .decoder import AttentionDecoder
from .vocabulary import BOS, EOS, PAD, UNK, Vocabulary

ATTEND = ('time', 'space_time', 'mean')


@MODELS.register_module()
class CaptionHead(BaseModule):
    """Write a caption of a clip, word by word.

    Args:
        vocabulary: File of ``cnnlstm-mm vocabulary``, or its content.
        in_channels: Channels C of the input feature.
        embed_channels: Size of a word's embedding.
        hidden_channels: Size of the state of the LSTM over words.
        attention_channels: Size of the layer that scores the steps.
        attend: What the decoder attends to: 'time', the steps, each averaged over the frame;
            'space_time', every position of every step; 'mean', one average, without attention.
        max_words: Most words of a caption; longer ones are cut in training, which the log reports.
        dropout_ratio: Of the embeddings and before the last layer.
        tie_embeddings: The last layer has the weights of the embeddings.
        label_smooth_eps: Label smoothing of the loss.
        scheduled_sampling: Probability, in training, that the decoder reads a word drawn from its
            own distribution in place of the caption's.
        beam_width: Hypotheses of the search in :meth:`predict`; 1 is greedy.
        n_best: Captions that :meth:`predict` keeps.
        length_penalty: 0 ranks by log-probability, 1 by its mean over words.
        no_repeat_ngram: No run of this many words comes twice; None: no limit.
        init_cfg: mmengine's initialization config.

    Raises:
        FileNotFoundError, ValueError: For a missing vocabulary or an option out of range.

    Source: Yao et al., ICCV 2015 (SA-LSTM); 'mean' is Venugopalan et al., NAACL 2015; scheduled
    sampling is Bengio et al., NIPS 2015.
    """

    def __init__(
        self,
        vocabulary: str | dict[str, Any],
        in_channels: int,
        embed_channels: int = 256,
        hidden_channels: int = 512,
        attention_channels: int = 256,
        attend: str = 'time',
        max_words: int = 20,
        dropout_ratio: float = 0.5,
        tie_embeddings: bool = False,
        label_smooth_eps: float = 0.0,
        scheduled_sampling: float = 0.0,
        beam_width: int = 1,
        n_best: int = 1,
        length_penalty: float = 0.0,
        no_repeat_ngram: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_choice('attend', attend, *ATTEND)
        check_int(max_words=max_words, beam_width=beam_width, n_best=n_best)
        check_int(optional=True, no_repeat_ngram=no_repeat_ngram)
        check_fraction(label_smooth_eps=label_smooth_eps)
        check_number(0, 1, scheduled_sampling=scheduled_sampling)
        check_number(length_penalty=length_penalty)
        if n_best > beam_width:
            raise ValueError(
                f'n_best: expected at most beam_width={beam_width}, got {n_best}; fix: '
                f'beam_width={n_best}'
            )
        self.vocabulary = Vocabulary(vocabulary)
        self.in_channels, self.attend, self.max_words = in_channels, attend, max_words
        self.label_smooth_eps, self.scheduled_sampling = label_smooth_eps, scheduled_sampling
        self.beam_width, self.n_best = beam_width, n_best
        self.length_penalty, self.no_repeat_ngram = length_penalty, no_repeat_ngram
        self.cut = 0  # captions over max_words so far
        self.decoder = AttentionDecoder(
            len(self.vocabulary),
            in_channels,
            embed_channels,
            hidden_channels,
            attention_channels,
            dropout_ratio,
            tie_embeddings,
        )

    def init_weights(self) -> None:
        """Initialize the decoder, then as ``init_cfg`` says."""
        self.decoder.init_weights()
        super().init_weights()

    def memory(self, feature: Feature) -> tuple[Tensor, Tensor]:
        """What the decoder attends to.

        Args:
            feature: [N, C, T, h, w], a tuple of stages, or a :class:`PaddedFeature`.

        Returns:
            Memory [N, P, C], and bool [N, P], False in the padding.
        """
        x, lengths = select_feature(feature, -1, self.in_channels, type(self).__name__)
        x = x.permute(0, 2, 3, 4, 1)  # [N, T, h, w, C]
        mask = x.new_ones(x.shape[:2], dtype=torch.bool)
        if lengths is not None:
            mask = PaddedFeature.valid_mask(x.shape[1], lengths)
        return self.pool_memory(x, mask)

    def pool_memory(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[N, T, h, w, C] and bool [N, T] to memory [N, P, C] and bool [N, P]."""
        if self.attend == 'space_time':
            return x.flatten(1, 3), mask.repeat_interleave(x.shape[2] * x.shape[3], 1)
        x = x.mean((2, 3))
        if self.attend == 'time':
            return x, mask
        x = (x * mask[..., None]).sum(1, keepdim=True) / mask.sum(1)[:, None, None]
        return x, mask[:, :1]

    def forward(self, x: Feature, words: Tensor | None = None, **kwargs: Any) -> Tensor:
        """Scores of the word after each word, before the softmax, [N, L, num_words].

        Args:
            x: See :meth:`memory`.
            words: Numbers of the words so far, [N, L], ``BOS`` first; None for ``BOS`` alone.
            **kwargs: Unused; recognizers pass ``loss_aux``.
        """
        memory, mask = self.memory(x)
        if words is None:
            words = torch.full((len(memory), 1), BOS, device=memory.device)
        return self.scores(memory, mask, words)

    def scores(self, memory: Tensor, mask: Tensor, words: Tensor) -> Tensor:
        """As :meth:`forward`, from the memory."""
        state, keys = self.decoder.start(memory, mask), self.decoder.keys(memory)
        features: list[Tensor] = []
        for t, read in enumerate(self.decoder.embed(words).unbind(1)):
            if t and self.training and self.scheduled_sampling:
                read = self.decoder.embed(self._sampled(features[-1], words[:, t]))
            feature, state, _ = self.decoder.recur(read, state, memory, keys, mask)
            features.append(feature)
        return self.decoder.classify(torch.stack(features, 1))

    @torch.no_grad()
    def _sampled(self, feature: Tensor, words: Tensor) -> Tensor:
        """Words [N], each replaced by a drawn one with the probability of scheduled sampling."""
        drawn = self.decoder.classify(feature).float().softmax(1).multinomial(1)[:, 0]
        replaced = torch.rand(len(words), device=words.device) < self.scheduled_sampling
        return torch.where(replaced & (words != PAD), drawn, words)

    def targets(self, data_samples: SampleList, device: torch.device) -> Tensor:
        """Word numbers of the samples' captions, [N, L]: ``BOS``, words, ``EOS``, then ``PAD``.

        A caption of more than ``max_words`` is cut and has no ``EOS``: its end is unknown.

        Raises:
            ValueError: If a sample has no caption, or one without words.
        """
        rows = []
        for sample in data_samples:
            caption = sample.metainfo.get('caption')
            found = [] if caption is None else self.vocabulary.encode(caption)
            if not found:
                raise ValueError(
                    f'{sample.metainfo.get("filename", "a clip")}: expected a caption with words, '
                    f"got {caption!r}; fix: the data set's type='CaptionDataset', and its list"
                )
            self.cut += len(found) > self.max_words
            ends = [EOS] if len(found) <= self.max_words else []
            rows.append(torch.tensor([BOS, *found[: self.max_words], *ends]))
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
        return padded.to(device)

    def loss(self, feats: Feature, data_samples: SampleList, **kwargs: Any) -> dict[str, Tensor]:
        """Cross-entropy of the captions given the clips, summed over words, a mean over samples.

        Returns:
            ``loss_caption``; ``word_acc``, the share of words that are the most probable ones.
        """
        memory, mask = self.memory(feats)
        words = self.targets(data_samples, memory.device)
        scores = self.scores(memory, mask, words[:, :-1]).float()
        wanted = words[:, 1:]
        loss = F.cross_entropy(
            scores.transpose(1, 2),
            wanted,
            ignore_index=PAD,
            reduction='none',
            label_smoothing=self.label_smooth_eps,
        )
        counted = wanted != PAD
        right = (scores.argmax(2) == wanted) & counted
        return dict(loss_caption=loss.sum(1).mean(), word_acc=right.sum() / counted.sum())

    def predict(self, feats: Feature, data_samples: SampleList, **kwargs: Any) -> SampleList:
        """Write captions.

        Returns:
            The samples with ``pred_captions``, up to ``n_best`` dicts of ``caption``,
            ``log_prob`` and ``score``, the best first.

        Raises:
            ValueError: For several views of a clip.
        """
        memory, mask = self.memory(feats)
        if len(memory) != len(data_samples):
            raise ValueError(
                f'CaptionHead: expected one view a clip, got {len(memory)} views of '
                f'{len(data_samples)} clips; fix: num_clips=1 and CenterCrop in the test pipeline'
            )
        for sample, found in zip(data_samples, self.write(memory, mask)):
            sample.pred_captions = self.describe(found)
        return data_samples

    def describe(self, hypotheses: list[Hypothesis]) -> list[dict[str, Any]]:
        """Hypotheses as dicts of ``caption``, ``log_prob`` and ``score``."""
        return [
            dict(caption=self.vocabulary.decode(h.words), log_prob=h.log_prob, score=h.score)
            for h in hypotheses
        ]

    def write(self, memory: Tensor, mask: Tensor) -> list[list[Hypothesis]]:
        """The best hypotheses of each memory [N, P, C] with bool [N, P]."""
        keys = self.decoder.keys(memory)
        rows = [x.repeat_interleave(self.beam_width, 0) for x in (memory, keys, mask)]

        def step(words: Tensor, state: State) -> tuple[Tensor, State]:
            feature, state, _ = self.decoder.recur(self.decoder.embed(words), state, *rows)
            return self.decoder.classify(feature).float().log_softmax(1), state

        return beam_search(
            step,
            self.decoder.start(memory, mask),
            self.beam_width,
            self.max_words,
            self.n_best,
            self.length_penalty,
            self.no_repeat_ngram,
            (PAD, BOS, UNK),
        )

    @torch.no_grad()
    def attention(self, memory: Tensor, mask: Tensor, words: Tensor) -> Tensor:
        """Attention at each word, [N, L, P], for words [N, L] that begin with ``BOS``."""
        state, keys = self.decoder.start(memory, mask), self.decoder.keys(memory)
        weights = []
        for read in self.decoder.embed(words).unbind(1):
            _, state, now = self.decoder.recur(read, state, memory, keys, mask)
            weights.append(now)
        return torch.stack(weights, 1)
