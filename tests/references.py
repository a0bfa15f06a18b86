"""Plain twins of the operations: loops over time in NumPy, written from the equations."""

import numpy as np


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


def linear_attention(q, k, v, log_decay):
    """S[t] = diag(a[t]) S[t-1] + k[t] v[t]^T;  o[t] = S[t]^T q[t]; [batch, length, heads, ...]."""
    state = np.zeros((q.shape[0], q.shape[2], q.shape[3], v.shape[3]))
    o = np.zeros(v.shape)
    for t in range(q.shape[1]):
        state = np.exp(log_decay[:, t])[..., None] * state
        state = state + k[:, t, :, :, None] * v[:, t, :, None, :]
        o[:, t] = np.einsum("bhkv,bhk->bhv", state, q[:, t])
    return o


def delta_rule_states(k, v, beta, log_decay, mask=False, value=0.0):
    """S[t] = a (I - beta k k^T) S[t-1] + beta k v^T, and `value` where the mask holds."""
    shape = (*k.shape, v.shape[3])
    mask, value = np.broadcast_to(mask, shape), np.broadcast_to(value, shape)
    state, states = np.zeros((shape[0], *shape[2:])), np.zeros(shape)
    for t in range(shape[1]):
        state = np.exp(log_decay[:, t])[..., None] * state
        answer = np.einsum("bhkv,bhk->bhv", state, k[:, t])
        error = beta[:, t, :, None] * (v[:, t] - answer)
        state = state + k[:, t, :, :, None] * error[:, :, None, :]
        state = np.where(mask[:, t], value[:, t], state)
        states[:, t] = state
    return states


def delta_rule(q, k, v, beta, log_decay):
    """o[t] = S[t]^T q[t] of `delta_rule_states`."""
    return np.einsum("blhkv,blhk->blhv", delta_rule_states(k, v, beta, log_decay), q)


def wkv(k, v, w, u):
    """Averages with weights exp(k[s] + (t - 1 - s) w), and exp(u + k[t]) of the current token."""
    y = np.zeros_like(v)
    for t in range(k.shape[1]):
        exponents = k[:, : t + 1] + (t - 1 - np.arange(t + 1))[None, :, None] * w
        exponents[:, t] = u + k[:, t]
        weights = np.exp(exponents - exponents.max(axis=1, keepdims=True))
        y[:, t] = (weights * v[:, : t + 1]).sum(axis=1) / weights.sum(axis=1)
    return y
