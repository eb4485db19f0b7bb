"""Decoder of captions: an LSTM over words that attends to the encoder's steps."""

import torch
from torch import Tensor, nn

from cnnlstm_mm.models.stepping import State
from cnnlstm_mm.options import check_bool, check_fraction, check_int


class AttentionDecoder(nn.Module):
    """One word after another, from a memory of the video.

    At each word a softmax over the memory, scored by ``v tanh(W_m m + W_h h)``, gives a context;
    the LSTM takes the word and the context, and its output with the context scores all words.

    Args:
        num_words: Size of the vocabulary.
        in_channels: Channels C of the memory.
        embed_channels: Size of a word's embedding.
        hidden_channels: Size of the LSTM's state.
        attention_channels: Size of the layer that scores the memory.
        dropout_ratio: Of the embeddings and before the last layer.
        tie_embeddings: The last layer has the weights of the embeddings.

    Source: Yao et al., "Describing Videos by Exploiting Temporal Structure", ICCV 2015; the
    attention is that of Bahdanau et al., ICLR 2015; tied embeddings are those of Press and Wolf,
    EACL 2017.
    """

    def __init__(
        self,
        num_words: int,
        in_channels: int,
        embed_channels: int,
        hidden_channels: int,
        attention_channels: int,
        dropout_ratio: float = 0.0,
        tie_embeddings: bool = False,
    ) -> None:
        super().__init__()
        check_int(
            num_words=num_words,
            in_channels=in_channels,
            embed_channels=embed_channels,
            hidden_channels=hidden_channels,
            attention_channels=attention_channels,
        )
        check_fraction(dropout_ratio=dropout_ratio)
        check_bool(tie_embeddings=tie_embeddings)
        self.embedding = nn.Embedding(num_words, embed_channels)
        self.attend_memory = nn.Linear(in_channels, attention_channels)
        self.attend_hidden = nn.Linear(hidden_channels, attention_channels, bias=False)
        self.attend_score = nn.Linear(attention_channels, 1, bias=False)
        self.init_h = nn.Linear(in_channels, hidden_channels)
        self.init_c = nn.Linear(in_channels, hidden_channels)
        self.lstm = nn.LSTMCell(embed_channels + in_channels, hidden_channels)
        self.output = nn.Linear(hidden_channels + in_channels, embed_channels)
        self.dropout = nn.Dropout(dropout_ratio)
        self.classifier = nn.Linear(embed_channels, num_words)
        self.tie_embeddings = tie_embeddings
        if tie_embeddings:
            self.classifier.weight = self.embedding.weight

    def init_weights(self) -> None:
        """Orthogonal recurrence, forget bias 1; small embeddings where they are tied."""
        if self.tie_embeddings:
            nn.init.normal_(self.embedding.weight, std=self.embedding.embedding_dim**-0.5)
        for part in self.lstm.weight_hh.data.chunk(4):
            nn.init.orthogonal_(part)
        nn.init.zeros_(self.lstm.bias_hh)
        nn.init.zeros_(self.lstm.bias_ih)
        self.lstm.bias_ih.data.chunk(4)[1].fill_(1.0)
        nn.init.zeros_(self.classifier.bias)

    def start(self, memory: Tensor, mask: Tensor) -> State:
        """State before the first word: ``h`` and ``c`` [N, hidden] from the mean of the memory.

        Args:
            memory: [N, P, C].
            mask: Bool [N, P], False where the memory is padded.
        """
        share = mask.to(memory.dtype)
        mean = (memory * share[..., None]).sum(1) / share.sum(1, keepdim=True)
        return dict(h=self.init_h(mean).tanh(), c=self.init_c(mean).tanh())

    def keys(self, memory: Tensor) -> Tensor:
        """The part of the scores that all words share, [N, P, attention_channels]."""
        return self.attend_memory(memory)

    def embed(self, words: Tensor) -> Tensor:
        """Embeddings of words, [..., embed_channels]."""
        return self.dropout(self.embedding(words))

    def recur(
        self, read: Tensor, state: State, memory: Tensor, keys: Tensor, mask: Tensor
    ) -> tuple[Tensor, State, Tensor]:
        """Read one word.

        Args:
            read: Embeddings of the words, [N, embed_channels].
            state: Of :meth:`start` or an earlier call.
            memory: [N, P, C].
            keys: See :meth:`keys`.
            mask: Bool [N, P].

        Returns:
            A feature [N, hidden + C] for :meth:`classify`, the state after the word, and the
            attention [N, P], which sums to 1.
        """
        scores = self.attend_score((keys + self.attend_hidden(state['h'])[:, None]).tanh())
        weights = scores[..., 0].masked_fill(~mask, -torch.inf).softmax(1)
        context = (weights[:, None] @ memory)[:, 0]  # [N, C]
        h, c = self.lstm(torch.cat([read, context], 1), (state['h'], state['c']))
        return torch.cat([h, context], 1), dict(h=h, c=c), weights

    def classify(self, feature: Tensor) -> Tensor:
        """Scores of the next word before the softmax, [..., num_words]."""
        return self.classifier(self.dropout(self.output(feature).tanh()))
