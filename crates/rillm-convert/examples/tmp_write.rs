#![allow(missing_docs)]
use rillm::format::*;
use rillm_convert::{checkpoint::Checkpoint, quantise::*, rope, vocabulary::Vocabulary};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let ck = Checkpoint::open(a[1].as_ref()).unwrap();
    let group: u32 = a[3].parse().unwrap();
    let mut h = ck.header();
    let voc = Vocabulary::open(a[4].as_ref(), h.vocab_size).unwrap();
    let q = |kind: TensorKind, layer: u32| -> (TensorHeader, Vec<Vec<u8>>) {
        let (rows, cols) = kind.shape(&h);
        let v = ck.tensor(kind, layer);
        let norm = matches!(kind, TensorKind::AttentionNorm | TensorKind::MlpNorm | TensorKind::FinalNorm);
        let quant = if norm { Quantisation::Fixed32 } else { Quantisation::Int8 { group } };
        let mut e = i8::MIN;
        let rows_v = v
            .chunks(cols as usize)
            .map(|r| {
                let mut o = vec![0; quant.row_len(cols)];
                e = e.max(if norm {
                    quantise_fixed32(r, &mut o).unwrap()
                } else {
                    quantise_int8(r, group, &mut o).unwrap()
                });
                o
            })
            .collect();
        (TensorHeader { kind, layer, quantisation: quant, exponent: e, rows, cols }, rows_v)
    };
    let mut tape = vec![];
    let mut entries = vec![];
    for (k, l) in TensorKind::tape(h.n_layers) {
        let (t, rows) = q(k, l);
        entries.push(TensorEntry { tensor: t, offset: tape.len() as u64, len: t.byte_len(), crc32: 0 });
        tape.extend(t.emit());
        for r in rows {
            tape.extend(r)
        }
    }
    let (t, rows) = q(TensorKind::Embedding, 0);
    let most = voc.tokens.iter().map(|t| t.text.len()).max().unwrap();
    let rec = (t.row_len() + 2 + most).next_multiple_of(4);
    let eh = EmbeddingHeader { tensor: t, record_len: rec as u32 };
    let mut emb = eh.emit().to_vec();
    for (r, tok) in rows.iter().zip(&voc.tokens) {
        let s = emb.len();
        emb.extend(r);
        emb.push(tok.text.len() as u8);
        emb.push(tok.kind as u8);
        emb.extend(&tok.text);
        emb.resize(s + rec, 0);
    }
    let rope: Vec<u8> = rope::table(&h.rope, h.head_dim).iter().flat_map(|x| x.to_le_bytes()).collect();
    let tok = voc.section().unwrap();
    let pad = |n: u64| n.next_multiple_of(512);
    let o_rope = 512;
    let o_tab = o_rope + pad(rope.len() as u64);
    let o_tok = o_tab + pad(40 * (entries.len() as u64 + 1));
    let o_emb = o_tok + pad(tok.len() as u64);
    let o_tape = o_emb + pad(emb.len() as u64);
    let mut tab = TensorEntry { tensor: t, offset: o_emb, len: eh.byte_len(), crc32: 0 }.emit().to_vec();
    for mut e in entries {
        e.offset += o_tape;
        tab.extend(e.emit());
    }
    for (kind, offset, b) in [
        (SectionKind::Rope, o_rope, &rope),
        (SectionKind::Tensors, o_tab, &tab),
        (SectionKind::Tokenizer, o_tok, &tok),
        (SectionKind::Embedding, o_emb, &emb),
        (SectionKind::Tape, o_tape, &tape),
    ] {
        h.push_section(Section { kind, offset, len: b.len() as u64, crc32: 0 });
    }
    let mut out = h.emit().to_vec();
    for b in [rope, tab, tok, emb, tape] {
        out.extend(&b);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    std::fs::write(&a[2], out).unwrap();
}
