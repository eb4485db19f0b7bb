"""ConvLSTM as the formulas say it: one sample, one frame, one gate at a time,
under autograd."""

import torch
import torch.nn.functional as F


def convolve(x, weight, bias=None, padding='same', stride=(1, 1), dilation=(1, 1)):
    """x [C, H, W]; pads as TensorFlow does, the odd pixel after."""
    if padding == 'same':
        pads = []
        for size, k, s, d in zip(x.shape[1:], weight.shape[2:], stride, dilation):
            total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
            pads.append((total // 2, total - total // 2))
        x = F.pad(x, (*pads[1], *pads[0]))
    return F.conv2d(
        x[None], weight, bias, stride, 0, dilation, groups=x.shape[0] // weight.shape[1]
    )[0]


def normalize(z, gain):
    """z [C, H, W] over its channels."""
    deviation = z - z.mean(0)
    return deviation / (deviation.square().mean(0) + 1e-5).sqrt() * gain[:, None, None]


def share(layer, p, side, x, **geometry):
    """The share of the input ('ih') or of the state ('hh') in i, f, g, o."""
    bias = p.get('bias') if side == 'ih' else None
    if layer.gate_conv == 'full':
        z = convolve(x, p[f'weight_{side}'], bias, **geometry)
    elif layer.gate_conv == 'depthwise':
        z = convolve(convolve(x, p[f'depth_{side}'], **geometry), p[f'weight_{side}'], bias)
    else:
        b = [0.0] * 4 if bias is None else bias[:, None, None].chunk(4)
        i, f, o = (p[f'gate_{side}'] @ x.mean((1, 2)))[:, None, None].chunk(3)
        g = convolve(x, p['depth_ih'], **geometry) if side == 'ih' else x
        return i + b[0], f + b[1], convolve(g, p[f'weight_{side}']) + b[2], o + b[3]
    if layer.norm:
        z = z if bias is None else z - bias[:, None, None]
        z = normalize(z, p[f'norm_{side}'])
        z = z if bias is None else z + bias[:, None, None]
    return z.chunk(4)


def direction(layer, p, frames, h, c, geometry, mask):
    """frames: list of [C, H, W] in the order they are processed; returns the
    list of h, and the last h and c."""
    sigmoid = dict(
        sigmoid=torch.sigmoid,
        hard_sigmoid=lambda v: (v + 3).clamp(0, 6) / 6,
        hard_sigmoid_keras2=lambda v: (0.2 * v + 0.5).clamp(0, 1),
    )[layer.recurrent_activation]
    tanh = dict(tanh=torch.tanh, relu=lambda v: v.clamp(min=0))[layer.activation]
    p_i = p_f = p_o = 0.0
    if layer.peephole:
        p_i, p_f, p_o = F.interpolate(
            p['peephole'], h.shape[1:], mode='bilinear', align_corners=False
        )
    output = []
    for x in frames:
        i, f, g, o = (
            a + b
            for a, b in zip(share(layer, p, 'ih', x, **geometry), share(layer, p, 'hh', h * mask))
        )
        i, f = sigmoid(i + p_i * c), sigmoid(f + p_f * c)
        c = f * c + i * tanh(g)
        h = sigmoid(o + p_o * c) * tanh(c)
        output.append(h)
    return output, h, c


def reference(layer, x, state=None, lengths=None):
    """What ``layer(x, state, lengths)`` must return; dropout masks are drawn
    from the current seed."""
    count, frames = x.shape[:2]
    height, width = layer.output_size(tuple(x.shape[-2:]))
    several = isinstance(layer.hidden_channels, tuple)  # a list of sizes
    sizes = layer.hidden_channels if several else [layer.hidden_channels] * layer.num_layers
    if state is None:
        zeros = [
            x.new_zeros(count, f, height, width) for f in sizes for _ in range(layer.directions)
        ]
        state = (zeros,) * 2
    elif several:
        ends = [sum(sizes[: k + 1]) for k in range(len(sizes))]
        state = [
            [s[d][:, e - f : e] for e, f in zip(ends, sizes) for d in range(layer.directions)]
            for s in state
        ]
    parameters = dict(layer.named_parameters())
    hs, cs = [], []
    for k in range(layer.num_layers):
        outputs = []
        for d in range(layer.directions):
            suffix = f'_l{k}' + ('_reverse' if d else '')
            p = {name[: -len(suffix)]: w for name, w in parameters.items() if name.endswith(suffix)}
            geometry = (
                {}
                if k
                else dict(padding=layer.padding, stride=layer.stride, dilation=layer.dilation)
            )
            y = x
            if layer.training and layer.dropout:
                y = x * F.dropout(torch.ones_like(x[:, :1]), layer.dropout)
            masks = torch.ones_like(state[0][k * layer.directions])
            if layer.training and layer.recurrent_dropout:
                masks = F.dropout(masks, layer.recurrent_dropout)
            block = k * layer.directions + d
            sequences, last_h, last_c = [], [], []
            for n in range(count):
                length = frames if lengths is None else int(lengths[n])
                order = list(range(length))
                if bool(d) != layer.go_backwards:
                    order.reverse()
                out, h, c = direction(
                    layer,
                    p,
                    [y[n, t] for t in order],
                    state[0][block][n],
                    state[1][block][n],
                    geometry,
                    masks[n],
                )
                by_frame = [torch.zeros_like(h)] * frames
                for t, o in zip(order, out):
                    by_frame[t] = o
                sequences.append(torch.stack(by_frame))
                last_h.append(h)
                last_c.append(c)
            outputs.append(torch.stack(sequences))
            hs.append(torch.stack(last_h))
            cs.append(torch.stack(last_c))
        x = torch.cat(outputs, 2)
    if layer.go_backwards:
        lengths = [frames] * count if lengths is None else [int(v) for v in lengths]
        x = torch.stack([torch.cat([s[:v].flip(0), s[v:]]) for s, v in zip(x, lengths)])
    if several:
        pairs = range(layer.directions)
        hs, cs = ([torch.cat(s[d :: layer.directions], 1) for d in pairs] for s in (hs, cs))
    return x, (torch.stack(hs), torch.stack(cs))
