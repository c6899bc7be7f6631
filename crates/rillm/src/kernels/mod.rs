//! Matrix kernels: they take most of a token's time.
//!
//! [`Rows::dot_generic`] defines the result. The kernels for specific processors give the same bits, because all
//! kernels are exact. The kernels are public so that firmware can test and time them on its own board.

mod generic;
#[cfg(all(target_arch = "riscv32", target_feature = "m"))]
#[allow(unsafe_code)]
mod riscv32;
#[cfg(all(target_arch = "xtensa", feature = "mac16"))]
#[allow(unsafe_code)]
mod xtensa;

pub(crate) use generic::dot;

/// A function that multiplies rows by a vector, as [`Rows::dot`] does.
pub type Dot = fn(&Rows<'_>, &[i16], &mut [i64]);

/// Consecutive rows of a quantised tensor.
///
/// A row is `cols` 8-bit values `q`, never −128, then an unsigned 8-bit scale for each `group` of values (the last
/// group may be shorter), then padding up to `row_len` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    bytes: &'a [u8],
    row_len: usize,
    cols: usize,
    group: usize,
}

impl<'a> Rows<'a> {
    /// Creates a view of `bytes`. Returns `None` unless `bytes` is a whole number of rows, `row_len` holds a row's
    /// values and scales, and `group` is 1 to 512.
    pub fn new(bytes: &'a [u8], row_len: usize, cols: usize, group: usize) -> Option<Self> {
        let fits = (1..=512).contains(&group) && row_len > 0 && cols + cols.div_ceil(group) <= row_len;
        (fits && bytes.len().is_multiple_of(row_len)).then_some(Self { bytes, row_len, cols, group })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.row_len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes of all rows.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The first `rows` rows, at most all of them, and the remaining rows.
    pub fn split_at(&self, rows: usize) -> (Self, Self) {
        let (first, second) = self.bytes.split_at(rows.min(self.len()) * self.row_len);
        (Self { bytes: first, ..*self }, Self { bytes: second, ..*self })
    }

    /// The bytes of a row.
    pub(crate) fn row(&self, index: usize) -> &'a [u8] {
        &self.bytes[index * self.row_len..][..self.row_len]
    }

    /// Number of columns in whole groups of `group`; 0 if the rows have another group length.
    fn whole_cols(&self, group: usize) -> usize {
        if self.group == group { self.cols / group * group } else { 0 }
    }

    /// Adds the contribution of each row's last group, which starts at column `first`, to `sums`.
    #[inline(never)]
    fn add_last_group(&self, first: usize, x: &[i16], sums: &mut [i64]) {
        for (row, sum) in self.bytes.chunks_exact(self.row_len).zip(sums) {
            let scale = row[self.cols + first / self.group];
            let product = dot(bytemuck::cast_slice(&row[first..self.cols]), &x[first..self.cols]);
            *sum += i64::from(product) * i64::from(scale);
        }
    }

    /// `sums[row] = Σ q · scale · x`, exactly, with the fastest kernel for this processor. `x` must hold at least
    /// `cols` values, none of them −32,768, and `sums` one sum for each row.
    pub fn dot(&self, x: &[i16], sums: &mut [i64]) {
        #[cfg(all(target_arch = "riscv32", target_feature = "m"))]
        return riscv32::dot_rows(self, x, sums);
        #[cfg(all(target_arch = "xtensa", feature = "mac16"))]
        return xtensa::dot_rows(self, x, sums);
        #[allow(unreachable_code)]
        self.dot_generic(x, sums)
    }

    /// Like [`dot`](Self::dot), with the generic kernel.
    pub fn dot_generic(&self, x: &[i16], sums: &mut [i64]) {
        generic::dot_rows(self, x, sums);
    }
}
