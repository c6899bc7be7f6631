//! Causal grouped-query attention, forwards and backwards.
//!
//! Matrices of queries are `[tokens, n_heads × head_dim]`, those of keys and values `[tokens, n_kv_heads × head_dim]`.
//! Consecutive query heads share a key and value head.

use std::ops::Range;

use rayon::prelude::*;

use super::operations::softmax;
use crate::config::LlamaConfig;
use crate::matmul::dot;

/// A sequence and a key and value head, with the query heads that share it: what one thread computes.
struct Task {
    /// The sequence's rows.
    rows: Range<usize>,
    kv_head: usize,
}

/// The gradients of queries, keys and values.
pub(super) struct AttentionGradients {
    pub q: Vec<f32>,
    pub k: Vec<f32>,
    pub v: Vec<f32>,
}

/// For each token and query head [`attend`] over the positions up to the token's, `[tokens, n_heads × head_dim]`.
pub(super) fn attention(config: &LlamaConfig, lengths: &[usize], q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
    let (head_dim, tasks) = (config.head_dim as usize, tasks(config, lengths));
    let (queries, kv) = ((config.n_heads, config.head_dim), (config.n_kv_heads, config.head_dim));
    let attended: Vec<Vec<Vec<f32>>> = tasks
        .par_iter()
        .map(|task| {
            let (k, v) = (head(k, kv, task, task.kv_head), head(v, kv, task, task.kv_head));
            let one = |query_head| {
                let mut attended = head(q, queries, task, query_head);
                for (position, q) in attended.chunks_exact_mut(head_dim).enumerate() {
                    let end = (position + 1) * head_dim;
                    q.copy_from_slice(&attend(q, &k[..end], &v[..end]));
                }
                attended
            };
            query_heads(config, task).map(one).collect()
        })
        .collect();
    let mut out = vec![0.0; q.len()];
    for (task, heads) in tasks.iter().zip(&attended) {
        for (query_head, values) in query_heads(config, task).zip(heads) {
            put_head(&mut out, queries, task, query_head, values);
        }
    }
    out
}

/// The gradients of [`attention`]'s inputs, of that of its result.
///
/// With the weights `p` of a query, their gradient `dp = V · dy` and `ds = p · (dp - Σ p · dp) / sqrt(head_dim)`:
/// `dq = Kᵀ · ds`, `dk = ds · q`, `dv = p · dy`.
pub(super) fn attention_back(
    config: &LlamaConfig,
    lengths: &[usize],
    (q, k, v): (&[f32], &[f32], &[f32]),
    dy: &[f32],
) -> AttentionGradients {
    let (head_dim, tasks) = (config.head_dim as usize, tasks(config, lengths));
    let (queries, kv) = ((config.n_heads, config.head_dim), (config.n_kv_heads, config.head_dim));
    let scale = 1.0 / (head_dim as f32).sqrt();
    let one_task = |task: &Task| {
        let (k, v) = (head(k, kv, task, task.kv_head), head(v, kv, task, task.kv_head));
        let (mut dk, mut dv) = (vec![0.0; k.len()], vec![0.0; v.len()]);
        let one = |query_head| {
            let mut dq = head(q, queries, task, query_head);
            let dy = head(dy, queries, task, query_head);
            for (position, (q, dy)) in dq.chunks_exact_mut(head_dim).zip(dy.chunks_exact(head_dim)).enumerate() {
                let end = (position + 1) * head_dim;
                let weights = attention_weights(q, &k[..end]);
                let d_weights: Vec<f32> = v[..end].chunks_exact(head_dim).map(|v| dot(dy, v)).collect();
                let mean = dot(&weights, &d_weights);
                let d_scores: Vec<f32> =
                    weights.iter().zip(&d_weights).map(|(weight, d)| weight * (d - mean) * scale).collect();
                for ((dk, dv), (d_score, weight)) in
                    dk.chunks_exact_mut(head_dim).zip(dv.chunks_exact_mut(head_dim)).zip(d_scores.iter().zip(&weights))
                {
                    add_scaled(dk, *d_score, q);
                    add_scaled(dv, *weight, dy);
                }
                q.copy_from_slice(&mix(&d_scores, &k[..end], head_dim));
            }
            dq
        };
        let dq: Vec<Vec<f32>> = query_heads(config, task).map(one).collect();
        (dq, dk, dv)
    };
    let gradients: Vec<_> = tasks.par_iter().map(one_task).collect();
    let mut out = AttentionGradients { q: vec![0.0; q.len()], k: vec![0.0; k.len()], v: vec![0.0; v.len()] };
    for (task, (dq, dk, dv)) in tasks.iter().zip(&gradients) {
        for (query_head, dq) in query_heads(config, task).zip(dq) {
            put_head(&mut out.q, queries, task, query_head, dq);
        }
        put_head(&mut out.k, kv, task, task.kv_head, dk);
        put_head(&mut out.v, kv, task, task.kv_head, dv);
    }
    out
}

/// `softmax(q · K / sqrt(head_dim)) · V`, of one query, `[head_dim]`, and a head's keys and values,
/// `[positions, head_dim]`.
pub(super) fn attend(q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
    mix(&attention_weights(q, k), v, q.len())
}

fn attention_weights(q: &[f32], k: &[f32]) -> Vec<f32> {
    let scale = 1.0 / (q.len() as f32).sqrt();
    let mut weights: Vec<f32> = k.chunks_exact(q.len()).map(|k| dot(q, k) * scale).collect();
    softmax(&mut weights);
    weights
}

/// `Σ weight · row`
fn mix(weights: &[f32], rows: &[f32], cols: usize) -> Vec<f32> {
    let mut sum = vec![0.0; cols];
    for (weight, row) in weights.iter().zip(rows.chunks_exact(cols)) {
        add_scaled(&mut sum, *weight, row);
    }
    sum
}

fn add_scaled(x: &mut [f32], scale: f32, y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += scale * y;
    }
}

fn tasks(config: &LlamaConfig, lengths: &[usize]) -> Vec<Task> {
    let mut start = 0;
    let mut tasks = vec![];
    for length in lengths {
        let rows = start..start + length;
        start = rows.end;
        tasks.extend((0..config.n_kv_heads as usize).map(|kv_head| Task { rows: rows.clone(), kv_head }));
    }
    tasks
}

fn query_heads(config: &LlamaConfig, task: &Task) -> Range<usize> {
    let shared_by = (config.n_heads / config.n_kv_heads) as usize;
    task.kv_head * shared_by..(task.kv_head + 1) * shared_by
}

/// One head of the task's sequence, `[positions, head_dim]`, of a matrix with `heads` heads.
fn head(matrix: &[f32], (heads, head_dim): (u32, u32), task: &Task, head: usize) -> Vec<f32> {
    let (width, head_dim) = ((heads * head_dim) as usize, head_dim as usize);
    task.rows.clone().flat_map(|row| &matrix[row * width + head * head_dim..][..head_dim]).copied().collect()
}

/// The inverse of [`head`].
fn put_head(matrix: &mut [f32], (heads, head_dim): (u32, u32), task: &Task, head: usize, values: &[f32]) {
    let (width, head_dim) = ((heads * head_dim) as usize, head_dim as usize);
    for (row, values) in task.rows.clone().zip(values.chunks_exact(head_dim)) {
        matrix[row * width + head * head_dim..][..head_dim].copy_from_slice(values);
    }
}
