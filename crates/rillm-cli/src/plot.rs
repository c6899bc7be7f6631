//! Draws accuracy against what a token reads, as SVG.

use std::fmt::Write;

use crate::number::grouped;

/// A file in the plot.
pub struct Point {
    pub name: String,
    pub bytes_per_token: u64,
    /// In nats.
    pub kl: f64,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
/// The area inside the axes.
const LEFT: f64 = 90.0;
const RIGHT: f64 = 710.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 360.0;
/// The distance of labels, from baseline to baseline, and about the width of a character.
const LINE: f64 = 15.0;
const CHARACTER: f64 = 7.0;
/// The least divergence that is drawn: nothing is 0 on a logarithmic axis.
const LEAST_KL: f64 = 1e-7;

/// The colours follow the reader's preference for a light or dark page.
const STYLE: &str = "<style>
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .grid { stroke: #8c959f; stroke-opacity: .35 }
  .axis { stroke: #57606a }
  circle { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .axis { stroke: #8d96a0 }
    circle { fill: #58a6ff }
  }
</style>
";

/// A plot of at least one point: KL in nats, in powers of ten, against bytes a token, from 0.
pub fn svg(title: &str, points: &[Point]) -> String {
    let most = points.iter().map(|point| point.bytes_per_token).max().unwrap_or(1).max(1);
    let step = round_step(most);
    let most = most.next_multiple_of(step);
    let x = |bytes: u64| LEFT + (RIGHT - LEFT) * bytes as f64 / most as f64;
    let decades = points.iter().map(|point| point.kl.max(LEAST_KL).log10());
    let [low, high] = decades.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], kl| [low.min(kl), high.max(kl)]);
    let low = low.floor() as i32;
    let high = (high.ceil() as i32).max(low + 1);
    let height = |exponent: f64| BOTTOM - (BOTTOM - TOP) * (exponent - f64::from(low)) / f64::from(high - low);

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\">\n{STYLE}"
    );
    let mut text = |x: f64, y: f64, anchor: &str, text: &str| {
        let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escaped(text));
    };
    text((LEFT + RIGHT) / 2.0, 24.0, "middle", &format!("{title}: divergence from float32"));
    text((LEFT + RIGHT) / 2.0, BOTTOM + 44.0, "middle", "bytes that a token reads");
    text(LEFT - 10.0, TOP - 16.0, "end", "KL, nats");
    for bytes in (0..=most).step_by(step as usize) {
        text(x(bytes), BOTTOM + 20.0, "middle", &grouped(bytes));
    }
    for exponent in low..=high {
        text(LEFT - 10.0, height(exponent.into()) + 4.0, "end", &decimal(exponent));
    }
    let place = |point: &Point| (x(point.bytes_per_token), height(point.kl.max(LEAST_KL).log10()));
    let named = points.iter().map(|point| (place(point).0, place(point).1, point.name.as_str()));
    for (x, y, anchor, name) in labels(named) {
        text(x, y, anchor, name);
    }
    let mut line = |class: &str, x1: f64, y1: f64, x2: f64, y2: f64| {
        let _ = writeln!(out, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
    };
    for bytes in (step..=most).step_by(step as usize) {
        line("grid", x(bytes), TOP, x(bytes), BOTTOM);
    }
    for exponent in low + 1..=high {
        line("grid", LEFT, height(exponent.into()), RIGHT, height(exponent.into()));
    }
    line("axis", LEFT, TOP, LEFT, BOTTOM);
    line("axis", LEFT, BOTTOM, RIGHT, BOTTOM);
    for point in points {
        let (x, y) = place(point);
        let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>");
    }
    out.push_str("</svg>\n");
    out
}

/// Places a label beside each point, on the side where there is more room: its place, its anchor and its text.
fn labels<'a>(points: impl Iterator<Item = (f64, f64, &'a str)>) -> Vec<(f64, f64, &'static str, &'a str)> {
    let mut points: Vec<_> = points.collect();
    points.sort_by(|a, b| a.1.total_cmp(&b.1));
    // The left and right ends and the baselines of labels, from top to bottom.
    let mut placed: Vec<[f64; 3]> = vec![];
    let place = |(x, y, name): (f64, f64, &'a str)| {
        let is_left = x > (LEFT + RIGHT) / 2.0;
        let (x, anchor) = if is_left { (x - 9.0, "end") } else { (x + 9.0, "start") };
        let width = name.chars().count() as f64 * CHARACTER;
        let [left, right] = if is_left { [x - width, x] } else { [x, x + width] };
        let mut y = y + 4.0;
        // Below the labels that are in the way.
        for &[other_left, other_right, other] in &placed {
            if left < other_right && other_left < right && (y - other).abs() < LINE {
                y = other + LINE;
            }
        }
        placed.push([left, right, y]);
        placed.sort_by(|a, b| a[2].total_cmp(&b[2]));
        (x, y, anchor, name)
    };
    points.into_iter().map(place).collect()
}

/// A step of the axis of bytes: 1, 2 or 5 times a power of ten, at most six of them to `most`.
fn round_step(most: u64) -> u64 {
    let mut power = 1;
    loop {
        if let Some(step) = [power, 2 * power, 5 * power].into_iter().find(|step| most.div_ceil(*step) <= 6) {
            return step;
        }
        power *= 10;
    }
}

/// A power of ten as a decimal fraction.
fn decimal(exponent: i32) -> String {
    format!("{:.*}", (-exponent).max(0) as usize, 10f64.powi(exponent))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
