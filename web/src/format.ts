// Numbers for people.

const grouped = new Intl.NumberFormat("en-US");

export const count = (number: number, noun: string) => `${grouped.format(number)} ${noun}${number === 1 ? "" : "s"}`;
export const group = (number: number) => grouped.format(Math.round(number));

/** Bytes in powers of 1,024. */
export function bytes(number: number): string {
  if (number < 1024) return count(number, "byte");
  const [unit, factor] = number < 1 << 20 ? ["KiB", 1024] : number < 2 ** 30 ? ["MiB", 1 << 20] : ["GiB", 2 ** 30];
  const value = number / (factor as number);
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0).replace(/\.0+$/, "")} ${unit}`;
}

/** Three significant digits at most. */
export const digits = (number: number) => (number === 0 ? "0" : number >= 100 ? group(number) : Number(number.toPrecision(3)).toString());

/** A range, of which both ends may look the same. */
export function range([low, high]: [number, number], unit: string): string {
  const [a, b] = [digits(low), digits(high)];
  return a === b ? `${a} ${unit}` : `${a} to ${b} ${unit}`;
}
