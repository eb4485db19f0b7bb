"""Loss and search of the caption head, against slow references."""

import itertools

import pytest
import torch
from helpers.caption_models import CONV, KINDS, LSTM, build, captions, clips, config, head
from torch.nn import functional as F

from cnnlstm_mm.captions.beam_search import beam_search
from cnnlstm_mm.captions.decoder import AttentionDecoder
from cnnlstm_mm.captions.vocabulary import BOS, EOS, PAD, UNK
from cnnlstm_mm.models.feature_input import PaddedFeature
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

FORBIDDEN = (PAD, BOS, UNK)


def decoder(seed, scale, num_words=8):
    """A decoder of five words to choose from, EOS among them; memory and mask of two clips."""
    torch.manual_seed(seed)
    made = AttentionDecoder(num_words, 5, 6, 7, 4).double()
    for parameter in made.parameters():
        parameter.data.mul_(scale)
    return made, torch.randn(2, 3, 5).double(), torch.ones(2, 3, dtype=torch.bool)


def search(made, memory, mask, width, max_words=4, **options):
    keys = made.keys(memory)
    rows = [x.repeat_interleave(width, 0) for x in (memory, keys, mask)]

    def step(words, state):
        feature, state, _ = made.recur(made.embed(words), state, *rows)
        return made.classify(feature).log_softmax(1), state

    state = made.start(memory, mask)
    return beam_search(step, state, width, max_words, forbidden=FORBIDDEN, **options)


@torch.no_grad()
def log_probs(made, memory, mask, sentences):
    """Log-probability of sentences of one length with their end, word by word."""
    rows = torch.tensor([[BOS, *sentence, EOS] for sentence in sentences])
    memory, mask = memory.expand(len(rows), -1, -1), mask.expand(len(rows), -1)
    state, keys, total = made.start(memory, mask), made.keys(memory), torch.zeros(len(rows))
    for read, wanted in itertools.pairwise(rows.T):
        feature, state, _ = made.recur(made.embed(read), state, memory, keys, mask)
        total = total + made.classify(feature).log_softmax(1).gather(1, wanted[:, None])[:, 0]
    return total.tolist()


def brute_force(made, memory, mask, penalty=0.0, repeat=None, longest=4):
    """All sentences of up to four of the four words, the best first."""
    words = [w for w in range(made.embedding.num_embeddings) if w not in (*FORBIDDEN, EOS)]
    found = []
    for length in range(longest + 1):
        sentences = list(itertools.product(words, repeat=length))
        for sentence, p in zip(sentences, log_probs(made, memory, mask, sentences)):
            runs = [sentence[k : k + (repeat or 0)] for k in range(length - (repeat or 0) + 1)]
            if not repeat or len(set(runs)) == len(runs):
                found.append((p / (length + 1) ** penalty, p, sentence))
    return sorted(found, key=lambda one: -one[0])


@pytest.mark.parametrize('penalty,repeat', [(0.0, None), (1.0, None), (0.7, 1), (0.0, 2)])
def test_a_beam_of_all_sentences_is_brute_force(penalty, repeat):
    made, memory, mask = decoder(3, 2.0)
    options = dict(n_best=10, length_penalty=penalty, no_repeat_ngram=repeat)
    for n, found in enumerate(search(made, memory, mask, 1300, **options)):
        wanted = brute_force(made, memory[n : n + 1], mask[n : n + 1], penalty, repeat)[:10]
        assert [h.words for h in found] == [sentence for _, _, sentence in wanted]
        for h, (score, p, _) in zip(found, wanted):
            assert h.log_prob == pytest.approx(p, abs=1e-5)
            assert h.score == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize('seed', range(5))
def test_a_beam_of_five_finds_the_best_sentence(seed):
    made, memory, mask = decoder(seed, 2.0)
    for n, (found,) in enumerate(search(made, memory, mask, 5)):
        (_, p, sentence), *_ = brute_force(made, memory[n : n + 1], mask[n : n + 1])
        assert found.words == sentence and found.log_prob == pytest.approx(p, abs=1e-5)


@torch.no_grad()
def greedy(made, memory, mask, longest):
    """The most probable word each time, of one clip."""
    state, keys = made.start(memory, mask), made.keys(memory)
    words, total = [BOS], 0.0
    while words[-1] != EOS:
        feature, state, _ = made.recur(
            made.embed(torch.tensor(words[-1:])), state, memory, keys, mask
        )
        scores = made.classify(feature).log_softmax(1)[0]
        scores[list(FORBIDDEN)] = -torch.inf
        words.append(EOS if len(words) == longest + 1 else int(scores.argmax()))
        total += scores[words[-1]].item()
    return tuple(words[1:-1]), total


@pytest.mark.parametrize('scale', [1.0, 2.0, 4.0])
def test_a_beam_of_one_is_greedy(scale):
    lengths = set()
    for seed in range(8):
        made, memory, mask = decoder(seed, scale, num_words=12)
        for n, (found,) in enumerate(search(made, memory, mask, 1, max_words=7)):
            words, total = greedy(made, memory[n : n + 1], mask[n : n + 1], 7)
            assert found.words == words and found.log_prob == pytest.approx(total, abs=1e-5)
            lengths.add(len(words))
    assert len(lengths) > 1


def plain_beam(made, memory, mask, width, longest):
    """The search over one clip as a list of sentences, without a batch."""
    alive, done = [(0.0, ())], []
    for length in range(longest + 1):
        grown = []
        for p, words in alive:
            scores = next_words(made, memory, mask, words)
            for word, more in enumerate(scores):
                if word not in FORBIDDEN and (length < longest or word == EOS):
                    grown.append((p + more, (*words, word)))
        grown.sort(key=lambda one: -one[0])
        kept = grown[: width - len(done)]
        done += [(p, words[:-1]) for p, words in kept if words[-1] == EOS]
        alive = [(p, words) for p, words in kept if words[-1] != EOS]
    return sorted(done, key=lambda one: -one[0])


@torch.no_grad()
def next_words(made, memory, mask, sentence):
    """Log-probabilities of the word after a sentence."""
    state, keys = made.start(memory, mask), made.keys(memory)
    for word in (BOS, *sentence):
        feature, state, _ = made.recur(made.embed(torch.tensor([word])), state, memory, keys, mask)
    return made.classify(feature).log_softmax(1)[0].tolist()


def test_the_batched_search_is_the_plain_one():
    made, memory, mask = decoder(1, 2.0)
    for width in (2, 3, 5):
        found = search(made, memory, mask, width, n_best=width)
        for n, of_clip in enumerate(found):
            wanted = plain_beam(made, memory[n : n + 1], mask[n : n + 1], width, 4)
            assert [h.words for h in of_clip] == [words for _, words in wanted]
            for h, (p, _) in zip(of_clip, wanted):
                assert h.log_prob == pytest.approx(p, abs=1e-5)


@pytest.mark.parametrize('attend', ['time', 'space_time', 'mean'])
@pytest.mark.parametrize('tie', [False, True])
def test_finite_differences(attend, tie):
    made = head(attend=attend, tie_embeddings=tie, embed_channels=4, hidden_channels=3).double()
    x = torch.randn(2, 5, 3, 2, 2, dtype=torch.double, requires_grad=True)
    words = torch.tensor([[BOS, 4, 5], [BOS, 6, 7]])
    parameters = dict(made.named_parameters())

    def scores(x, *values):
        return torch.func.functional_call(made, dict(zip(parameters, values)), (x, words))

    assert torch.autograd.gradcheck(scores, (x, *parameters.values()), fast_mode=True)


def samples(*texts):
    return [ActionDataSample(metainfo=dict(caption=text, filename='v.avi')) for text in texts]


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_the_loss_is_that_of_each_sentence(smoothing):
    made = head(label_smooth_eps=smoothing)
    x = torch.randn(2, 5, 3, 1, 1)
    texts = ['A red square moves left.', 'the circle']
    found = made.loss(x, samples(*texts))
    wanted, right, count = [], 0, 0
    for row, text in zip(x, texts):
        words = made.vocabulary.encode(text)
        scores = made(row[None], torch.tensor([[BOS, *words]]))[0]
        targets = torch.tensor([*words, EOS])
        wanted.append(F.cross_entropy(scores, targets, reduction='sum', label_smoothing=smoothing))
        right += (scores.argmax(1) == targets).sum().item()
        count += len(targets)
    assert found['loss_caption'].item() == pytest.approx(sum(wanted).item() / 2, rel=1e-5)
    assert found['word_acc'].item() == pytest.approx(right / count)
    assert [key for key in found if 'loss' in key] == ['loss_caption']


def test_a_long_caption_is_cut_and_its_end_not_learnt():
    made = head(max_words=5)
    words = made.targets(samples('a red ' * 100), torch.device('cpu'))[0]
    assert len(words) == 6 and EOS not in words and made.cut == 1
    assert made.targets(samples('a red'), torch.device('cpu'))[0].tolist()[-1] == EOS
    assert made.cut == 1


@pytest.mark.parametrize('text', [None, '', '...', '\n'])
def test_a_clip_without_words_is_refused(text):
    sample = samples(text)[0] if text is not None else ActionDataSample()
    with pytest.raises(ValueError, match='expected a caption with words.*fix: '):
        head().loss(torch.randn(1, 5, 3, 1, 1), [sample])


def test_scheduled_sampling():
    made, x = head(scheduled_sampling=1.0), torch.randn(4, 5, 3, 1, 1)
    texts = samples(*['a red square moves left then up'] * 4)
    torch.manual_seed(0)
    first = made.train().loss(x, texts)['loss_caption']
    assert made.loss(x, texts)['loss_caption'] != first, 'words are drawn'
    torch.manual_seed(0)
    assert made.loss(x, texts)['loss_caption'] == first
    plain = head()
    plain.load_state_dict(made.state_dict())
    assert made.eval().loss(x, texts)['loss_caption'] == plain.loss(x, texts)['loss_caption']


def test_padding_of_the_memory_changes_nothing():
    made = head(beam_width=3, n_best=3).eval()
    x = torch.randn(2, 5, 4, 1, 1)
    padded = PaddedFeature(x.clone(), torch.tensor([4, 2]))
    padded.feature[1, :, 2:] = torch.nan
    for attend in ('time', 'mean', 'space_time'):
        made.attend = attend
        together = made.write(*made.memory(padded))
        for n, part in enumerate((x[:1], x[1:, :, :2])):
            (alone,) = made.write(*made.memory(part))
            assert [h.words for h in together[n]] == [h.words for h in alone]
            assert together[n][0].log_prob == pytest.approx(alone[0].log_prob, abs=1e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_batch_and_order_do_not_matter(kind):
    model = build(config(kind, beam_width=3, n_best=3))
    videos = clips(5)
    together = captions(model, videos)
    assert len({one[0]['caption'] for one in together}) > 1, 'the clip must matter'
    for order in ([4, 2, 0, 1, 3], [3], [1, 0]):
        for n, found in zip(order, captions(model, videos[order])):
            assert [one['caption'] for one in found] == [one['caption'] for one in together[n]]
            for a, b in zip(found, together[n]):
                assert a['log_prob'] == pytest.approx(b['log_prob'], abs=1e-4)


def test_every_parameter_learns():
    for kind in KINDS:
        model = build(config(kind)).train()
        data = model.data_preprocessor(
            dict(
                inputs=[torch.from_numpy(v.transpose(3, 0, 1, 2)[None].copy()) for v in clips(2)],
                data_samples=samples('a red square', 'the green circle goes'),
            ),
            True,
        )
        model(**data, mode='loss')['loss_caption'].backward()
        lacking = [name for name, p in model.named_parameters() if p.grad is None]
        attention = {'cls_head.decoder.attend_' in name for name in lacking}
        assert attention <= ({True} if 'mean' in kind else set()), lacking


def test_tied_embeddings_are_one_weight():
    made = head(tie_embeddings=True)
    assert made.decoder.classifier.weight is made.decoder.embedding.weight
    again = head(tie_embeddings=True)
    again.load_state_dict(made.state_dict())
    assert again.decoder.classifier.weight is again.decoder.embedding.weight


def test_what_is_refused():
    cfg = config()
    cfg.model.neck.temporal_pool = 'mean'
    with pytest.raises(ValueError, match="returns all steps.*fix: temporal_pool='sequence'"):
        MODELS.build(cfg.model)
    cfg.model.neck = dict(CONV, in_channels=32, return_mode='last')
    with pytest.raises(ValueError, match="fix: return_mode='sequence'"):
        MODELS.build(cfg.model)
    with pytest.raises(ValueError, match='n_best: expected at most beam_width=1'):
        head(n_best=2)
    for option in (dict(attend='words'), dict(max_words=0), dict(label_smooth_eps=1.0)):
        with pytest.raises(ValueError, match='expected'):
            head(**option)
    made = head()
    with pytest.raises(ValueError, match='one view a clip, got 2 views of 1'):
        made.predict(torch.randn(2, 5, 3, 1, 1), samples('a'))
    with pytest.raises(ValueError, match='in_channels=5'):
        made.memory(torch.randn(1, LSTM['hidden_channels'], 3, 1, 1))
