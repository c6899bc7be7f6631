// Small checkpoints of one file.

/** The vocabulary of a small model: three special tokens, then every byte. */
const PIECES = ["<unk>", "<s>", "</s>", ...Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`)];

const float = (value: number) => Buffer.from(new Float32Array([value]).buffer);
const int = (value: number) => Buffer.from(new Uint32Array([value]).buffer);
const long = (value: number) => Buffer.from(new BigUint64Array([BigInt(value)]).buffer);
const weights = (count: number) => Buffer.from(new Float32Array(Array.from({ length: count }, (_, i) => ((i % 17) - 8) / 50)).buffer);

/** A checkpoint of llama2.c and its tokenizer. */
export function llama2c(): { model: Buffer; tokenizer: Buffer } {
  const [hidden, intermediate, heads, vocabulary, context] = [8, 12, 2, PIECES.length, 16];
  const header = [hidden, intermediate, 1, heads, heads, vocabulary, context].map(int);
  const count = vocabulary * hidden + 3 * hidden + 4 * hidden * hidden + 3 * hidden * intermediate + (context * hidden) / heads;
  const pieces = PIECES.map((piece) => (piece.length === 3 || piece === "</s>" ? (piece === "<unk>" ? piece : `\n${piece}\n`) : piece));
  const tokens = pieces.flatMap((piece) => [float(0), int(piece.length), Buffer.from(piece)]);
  return { model: Buffer.concat([...header, weights(count)]), tokenizer: Buffer.concat([int(4), ...tokens]) };
}

/** A GGUF file of a llama model in F32. */
export function gguf(): Buffer {
  const [hidden, intermediate, heads] = [32, 48, 4];
  const string = (text: string) => Buffer.concat([long(Buffer.byteLength(text)), Buffer.from(text)]);
  const [U32, F32, STRING, ARRAY, I32] = [4, 6, 8, 9, 5];
  const key = (name: string, type: number, ...value: Buffer[]) => Buffer.concat([string(name), int(type), ...value]);
  const list = (name: string, type: number, values: Buffer[]) => key(name, ARRAY, int(type), long(values.length), ...values);
  const keys = [
    key("general.architecture", STRING, string("llama")),
    key("llama.embedding_length", U32, int(hidden)),
    key("llama.block_count", U32, int(1)),
    key("llama.feed_forward_length", U32, int(intermediate)),
    key("llama.attention.head_count", U32, int(heads)),
    key("llama.context_length", U32, int(64)),
    key("llama.attention.layer_norm_rms_epsilon", F32, float(1e-5)),
    key("tokenizer.ggml.model", STRING, string("llama")),
    list("tokenizer.ggml.tokens", STRING, PIECES.map(string)),
    list("tokenizer.ggml.scores", F32, PIECES.map(() => float(0))),
    list("tokenizer.ggml.token_type", I32, PIECES.map((_, id) => int(id === 0 ? 2 : id < 3 ? 3 : 6))),
    key("tokenizer.ggml.bos_token_id", U32, int(1)),
    key("tokenizer.ggml.eos_token_id", U32, int(2)),
  ];
  const matrix = (name: string, rows: number, cols: number) => ({ name, shape: [cols, rows] });
  const tensors = [
    matrix("token_embd.weight", PIECES.length, hidden),
    { name: "output_norm.weight", shape: [hidden] },
    { name: "blk.0.attn_norm.weight", shape: [hidden] },
    ...["attn_q", "attn_k", "attn_v", "attn_output"].map((name) => matrix(`blk.0.${name}.weight`, hidden, hidden)),
    { name: "blk.0.ffn_norm.weight", shape: [hidden] },
    matrix("blk.0.ffn_gate.weight", intermediate, hidden),
    matrix("blk.0.ffn_up.weight", intermediate, hidden),
    matrix("blk.0.ffn_down.weight", hidden, intermediate),
  ];
  let offset = 0;
  const described = tensors.map(({ name, shape }) => {
    const entry = Buffer.concat([string(name), int(shape.length), ...shape.map(long), int(0), long(offset)]);
    offset += 4 * shape.reduce((product, length) => product * length, 1);
    return entry;
  });
  const start = Buffer.concat([Buffer.from("GGUF"), int(3), long(tensors.length), long(keys.length), ...keys, ...described]);
  const padding = Buffer.alloc((32 - (start.length % 32)) % 32);
  return Buffer.concat([start, padding, weights(offset / 4)]);
}
