"""Plain twins of the operations: loops over time in NumPy, written from the equations."""

import numpy as np
import scipy.special


def short_convolution(x, weight, bias=None):
    """y[t] = bias + sum_j weight[j] x[t - K + 1 + j]; x [batch, length, width]."""
    kernel = len(weight)
    y = np.zeros_like(x)
    for t in range(x.shape[1]):
        for j in range(kernel):
            if t - kernel + 1 + j >= 0:
                y[:, t] += weight[j] * x[:, t - kernel + 1 + j]
    return y if bias is None else y + bias


def long_convolution(x, filter):
    """y[t] = sum_{s <= t} filter[t - s] x[s]."""
    y = np.zeros_like(x)
    for t in range(x.shape[1]):
        for s in range(t + 1):
            y[:, t] += filter[t - s] * x[:, s]
    return y


def linear_recurrence(decay, write, initial=None):
    """h[t] = decay[t] h[t-1] + write[t]."""
    h = np.zeros_like(write[:, 0]) if initial is None else initial
    states = np.zeros_like(write)
    for t in range(write.shape[1]):
        h = decay[:, t] * h + write[:, t]
        states[:, t] = h
    return states


def selective_scan(x, dt, A, B, C):
    """h[t] = exp(dt[t] A) h[t-1] + dt[t] x[t] B[t];  y[t] = C[t] . h[t], a state per channel."""
    batch, length, inner = x.shape
    h = np.zeros((batch, inner, A.shape[1]))
    y = np.zeros_like(x)
    for t in range(length):
        decay = np.exp(dt[:, t, :, None] * A)
        h = decay * h + (dt[:, t] * x[:, t])[..., None] * B[:, t, None, :]
        y[:, t] = (h * C[:, t, None, :]).sum(axis=-1)
    return y


def _weighted_mean(q, k, v, weight_of):
    """y[t] = sum_{s <= t} w[t, s] v[s] / sum_s w[t, s]; all [batch, length, heads, channels]."""
    y = np.zeros((*q.shape[:3], v.shape[3]))
    for t in range(q.shape[1]):
        u = np.einsum("bhk,bshk->bsh", q[:, t], k[:, : t + 1]) / np.sqrt(q.shape[3])
        weights = weight_of(u)
        weights = weights / weights.sum(axis=1, keepdims=True)
        y[:, t] = np.einsum("bsh,bshv->bhv", weights, v[:, : t + 1])
    return y


def softmax_attention(q, k, v):
    """Causal attention: w = exp(q . k / sqrt(key))."""
    return _weighted_mean(q, k, v, np.exp)


def taylor_attention(q, k, v):
    """Causal attention with w = 1 + u + u^2 / 2, u = q . k / sqrt(key)."""
    return _weighted_mean(q, k, v, lambda u: 1 + u + u**2 / 2)


def trapezoid(q, k, v, log_decay, now, before):
    """S[t] = a (S[t-1] + before k[t-1] v[t-1]^T) + now k v^T, summed over ranks;  o = S^T q."""
    state = np.zeros((*q.shape[:1], q.shape[2], q.shape[4], v.shape[4]))
    outer, o = np.zeros(state.shape), np.zeros(v.shape)
    for t in range(q.shape[1]):
        decay = np.exp(log_decay[:, t])[..., None, None]
        state = decay * (state + before[:, t, :, None, None] * outer)
        outer = np.einsum("bhrk,bhrv->bhkv", k[:, t], v[:, t])
        state = state + now[:, t, :, None, None] * outer
        o[:, t] = np.einsum("bhkv,bhrk->bhrv", state, q[:, t])
    return o


def log_linear_attention(q, k, v, log_decay, weights):
    """Pairs t, s weighted by their level, the number of binary digits of t xor s, and decays."""
    o = np.zeros(v.shape)
    for t in range(q.shape[1]):
        for s in range(t + 1):
            weight = weights[:, t, :, (t ^ s).bit_length()]
            weight = weight * np.exp(log_decay[:, s + 1 : t + 1].sum(axis=1))
            product = (q[:, t] * k[:, s]).sum(axis=-1)
            o[:, t] += (weight * product)[..., None] * v[:, s]
    return o


def dplr_states(k, u, log_decay, x=None, y=None, mask=False, value=0.0):
    """S[t] = Diag(a) S[t-1] + y (S[t-1]^T x)^T + k u^T, and `value` where the mask holds."""
    shape = (*k.shape, u.shape[3])
    mask, value = np.broadcast_to(mask, shape), np.broadcast_to(value, shape)
    state, states = np.zeros((shape[0], *shape[2:])), np.zeros(shape)
    for t in range(shape[1]):
        moved = np.exp(log_decay[:, t])[..., None] * state + k[:, t, ..., None] * u[:, t, :, None]
        if x is not None:
            answer = np.einsum("bhkv,bhk->bhv", state, x[:, t])
            along = -k[:, t] if y is None else y[:, t]
            moved = moved + along[..., None] * answer[:, :, None]
        state = np.where(mask[:, t], value[:, t], moved)
        states[:, t] = state
    return states


def dplr(q, *update):
    """o[t] = S[t]^T q[t] of `dplr_states`; all [batch, length, heads, ...]."""
    return np.einsum("blhkv,blhk->blhv", dplr_states(*update), q)


def delta_rule(q, k, v, beta, log_decay):
    """S[t] = a (I - beta k k^T) S[t-1] + beta k v^T;  o[t] = S[t]^T q[t]."""
    state = np.zeros((q.shape[0], *k.shape[2:], v.shape[3]))
    o = np.zeros(v.shape)
    for t in range(q.shape[1]):
        state = np.exp(log_decay[:, t])[..., None] * state
        answer = np.einsum("bhkv,bhk->bhv", state, k[:, t])
        error = beta[:, t, :, None] * (v[:, t] - answer)
        state = state + k[:, t, :, :, None] * error[:, :, None, :]
        o[:, t] = np.einsum("bhkv,bhk->bhv", state, q[:, t])
    return o


def reflected_products(q, k, w, beta):
    """q[t] . k[s] with each key reflected by the tokens after it up to t; [batch, heads, t, s]."""
    batch, length, heads, _ = q.shape
    products = np.zeros((batch, heads, length, length))
    keys = np.zeros(k.shape)
    for t in range(length):
        meets = beta[:, t, None] * np.einsum("bhd,bshd->bsh", w[:, t], keys)
        keys = keys - meets[..., None] * w[:, t, None]
        keys[:, t] = k[:, t]
        products[:, :, t] = np.einsum("bhd,bshd->bhs", q[:, t], keys)
    return products


def wkv(k, v, w, u):
    """Averages with weights exp(k[s] + (t - 1 - s) w), and exp(u + k[t]) of the current token."""
    y = np.zeros_like(v)
    for t in range(k.shape[1]):
        exponents = k[:, : t + 1] + (t - 1 - np.arange(t + 1))[None, :, None] * w
        exponents[:, t] = u + k[:, t]
        weights = np.exp(exponents - exponents.max(axis=1, keepdims=True))
        y[:, t] = (weights * v[:, : t + 1]).sum(axis=1) / weights.sum(axis=1)
    return y


def layer_norm(x, parameters):
    """(x - mean) / sqrt(variance + 1e-5) * scale + bias along the last axis."""
    x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)
    return x * parameters["scale"] + parameters["bias"]


def transformer(params, embedding, put=None):
    """All sites of a Transformer (one head, learned positions, MLP), unrolled.

    Args:
        params: of the model, with blocks ``block_0``, ``block_1`` ...
        embedding: the residual stream before the first block [batch, length, width].
        put: site -> what stands there in place of its value.

    Returns:
        Site -> value, heads as no axis of their own; and ``logits``.
    """
    params = _float64(params)
    put, seen = {site: np.asarray(x, np.float64) for site, x in (put or {}).items()}, {}
    earlier = np.tril(np.ones((embedding.shape[1],) * 2, bool))

    def at(site, value):
        seen[site] = put.get(site, value)
        return seen[site]

    def dense(x, parameters):
        return x @ parameters["kernel"] + parameters.get("bias", 0)

    r = at("embedding", np.asarray(embedding, np.float64))
    for name in sorted(name for name in params if name.startswith("block_")):
        block, mixer = params[name], params[name]["mixer"]
        r = at(f"{name}/block_input", r)
        x = at(f"{name}/mixer_input", layer_norm(r, block["mixer_norm"]))
        q, k, v = (at(f"{name}/mixer/{n}", dense(x, mixer[f"{n}_proj"])) for n in "qkv")
        scores = np.einsum("bld,bsd->bls", q, k) / np.sqrt(q.shape[-1])
        weights = np.where(earlier, np.exp(scores - scores.max(axis=-1, keepdims=True)), 0)
        read = weights / weights.sum(axis=-1, keepdims=True) @ v
        r = r + at(f"{name}/mixer_output", dense(read, mixer["out_proj"]))
        hidden = at(f"{name}/mlp_input", layer_norm(r, block["mlp_norm"]))
        hidden = dense(hidden, block["mlp"]["fc1"])
        hidden = hidden * (1 + scipy.special.erf(hidden / np.sqrt(2))) / 2
        r = r + at(f"{name}/mlp_output", dense(hidden, block["mlp"]["fc2"]))
        r = at(f"{name}/block_output", r)
    final = at("final_norm", layer_norm(r, params["output_norm"]))
    seen["logits"] = final @ params["token_embedding"]["embedding"].T
    return seen


def _float64(tree):
    if isinstance(tree, dict):
        return {name: _float64(child) for name, child in tree.items()}
    return np.asarray(tree, np.float64)
