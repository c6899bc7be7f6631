//! The products of a matrix: where a token's time goes.
//!
//! [`Rows::dot_generic`] defines the result. The others, for one kind of processor each, give the same bits, because
//! all of them are exact. They are public so that firmware can prove and time them on its own board.

mod generic;
#[cfg(all(target_arch = "riscv32", target_feature = "m"))]
#[allow(unsafe_code)]
mod riscv32;
#[cfg(all(target_arch = "xtensa", feature = "mac16"))]
#[allow(unsafe_code)]
mod xtensa;

pub(crate) use generic::dot;

/// Multiplies rows with a vector, as [`Rows::dot`] does.
pub type Dot = fn(&Rows<'_>, &[i16], &mut [i64]);

/// Rows of a quantised tensor, one after the other.
///
/// A row is `cols` values `q` of 8 bits, never −128, then an unsigned 8-bit scale for each `group` of them (the last group
/// may be shorter), then whatever there is up to `row_len` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    bytes: &'a [u8],
    row_len: usize,
    cols: usize,
    group: usize,
}

impl<'a> Rows<'a> {
    /// `None` unless `bytes` is a whole number of rows, a row holds its values and scales, and a group is 1 to 512 values.
    pub fn new(bytes: &'a [u8], row_len: usize, cols: usize, group: usize) -> Option<Self> {
        let fits = (1..=512).contains(&group) && row_len > 0 && cols + cols.div_ceil(group) <= row_len;
        (fits && bytes.len().is_multiple_of(row_len)).then_some(Self { bytes, row_len, cols, group })
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.row_len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes of all of them.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The first `rows` rows and the others; all and none where there are fewer.
    pub fn split_at(&self, rows: usize) -> (Self, Self) {
        let (first, second) = self.bytes.split_at(rows.min(self.len()) * self.row_len);
        (Self { bytes: first, ..*self }, Self { bytes: second, ..*self })
    }

    /// The bytes of a row.
    pub(crate) fn row(&self, index: usize) -> &'a [u8] {
        &self.bytes[index * self.row_len..][..self.row_len]
    }

    /// How many columns lie in whole groups of `group`; 0 if the groups have another length.
    fn whole_cols(&self, group: usize) -> usize {
        if self.group == group { self.cols / group * group } else { 0 }
    }

    /// Adds to `sums` what the last group of each row contributes, which starts at column `first`.
    #[inline(never)]
    fn add_last_group(&self, first: usize, x: &[i16], sums: &mut [i64]) {
        for (row, sum) in self.bytes.chunks_exact(self.row_len).zip(sums) {
            let scale = row[self.cols + first / self.group];
            let product = dot(bytemuck::cast_slice(&row[first..self.cols]), &x[first..self.cols]);
            *sum += i64::from(product) * i64::from(scale);
        }
    }

    /// `sums[row] = Σ q · scale · x`, exactly, by the fastest means that this processor has. `x` holds at least `cols`
    /// values, none of them −32,768, and there is a sum for each row.
    pub fn dot(&self, x: &[i16], sums: &mut [i64]) {
        #[cfg(all(target_arch = "riscv32", target_feature = "m"))]
        return riscv32::dot_rows(self, x, sums);
        #[cfg(all(target_arch = "xtensa", feature = "mac16"))]
        return xtensa::dot_rows(self, x, sums);
        #[allow(unreachable_code)]
        self.dot_generic(x, sums)
    }

    /// What [`dot`](Self::dot) does, by means that every processor has.
    pub fn dot_generic(&self, x: &[i16], sums: &mut [i64]) {
        generic::dot_rows(self, x, sums);
    }
}
