//! Samples, their medians, and the two ways to print them.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// Everything that was measured, in the order in which it first came.
#[derive(Debug, Default)]
pub(super) struct Report {
    series: Vec<Series>,
}

/// One number of one server, once a round.
#[derive(Debug)]
struct Series {
    work: &'static str,
    measure: &'static str,
    server: &'static str,
    samples: Vec<f64>,
}

/// A promise: one server's median over something is at most, or at least, so much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promise {
    pub(super) work: &'static str,
    pub(super) measure: &'static str,
    pub(super) over: Over,
    pub(super) bound: Bound,
}

/// What a median is held against.
#[derive(Debug, Clone, Copy)]
pub(super) enum Over {
    /// Another server's median.
    Of(&'static str),
    /// The least median of those who did the work.
    LeastOf(&'static [&'static str]),
    /// A number, in the measure's unit.
    Amount(f64),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// A promise beside what was measured.
#[derive(Debug)]
struct Ratio {
    promise: Promise,
    value: f64,
    /// Whose median, or which number, it is held against.
    over: String,
}

impl Report {
    pub(super) fn add(
        &mut self,
        work: &'static str,
        measure: &'static str,
        server: &'static str,
        sample: f64,
    ) {
        let same =
            |series: &&mut Series| (series.work, series.measure, series.server) == (work, measure, server);
        if let Some(series) = self.series.iter_mut().find(same) {
            series.samples.push(sample);
        } else {
            self.series.push(Series { work, measure, server, samples: vec![sample] });
        }
    }

    /// A table with a row for each measure and a column for each server, then the ratios.
    pub(super) fn markdown(&self, subject: &'static str, promises: &[Promise]) -> String {
        let servers = distinct(self.series.iter().map(|series| series.server));
        let rows = distinct(self.series.iter().map(|series| (series.work, series.measure)));
        let mut text = format!(
            "| work | measure | {} |\n|---|---|{}\n",
            servers.join(" | "),
            "--:|".repeat(servers.len())
        );
        for (work, measure) in rows {
            let cells = servers
                .iter()
                .map(|server| self.median(work, measure, server).map_or("–".to_owned(), readable));
            // Writing to a String does not fail.
            let _ = writeln!(text, "| {work} | {measure} | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
        let ratios = self.ratios(subject, promises);
        if !ratios.is_empty() {
            text.push_str("\n| ratio | promised | measured | kept |\n|---|--:|--:|---|\n");
        }
        for ratio in ratios {
            let Promise { work, measure, bound, .. } = ratio.promise;
            let over = &ratio.over;
            let kept = if ratio.kept() { "yes" } else { "NO" };
            let _ = writeln!(
                text,
                "| {work}, {measure}: {subject} / {over} | {} | {} | {kept} |",
                bound.words(),
                readable(ratio.value)
            );
        }
        text
    }

    pub(super) fn json(&self, subject: &'static str, promises: &[Promise]) -> Value {
        let series: Vec<_> = self.series.iter().map(|series| {
            let Series { work, measure, server, samples } = series;
            json!({"work": work, "measure": measure, "server": server, "median": median(samples), "samples": samples})
        }).collect();
        let ratios: Vec<_> = self.ratios(subject, promises).iter().map(|ratio| {
            let Promise { work, measure, bound, .. } = ratio.promise;
            let over = &ratio.over;
            json!({"work": work, "measure": measure, "server": subject, "over": over, "promised": bound.words(), "value": ratio.value, "kept": ratio.kept()})
        }).collect();
        json!({"series": series, "ratios": ratios})
    }

    /// The promises of which both sides were measured.
    fn ratios(&self, subject: &'static str, promises: &[Promise]) -> Vec<Ratio> {
        promises
            .iter()
            .filter_map(|&promise| {
                let ours = self.median(promise.work, promise.measure, subject)?;
                let (over, theirs) = self.over(promise)?;
                Some(Ratio { promise, value: ours / theirs, over })
            })
            .collect()
    }

    fn over(&self, Promise { work, measure, over, .. }: Promise) -> Option<(String, f64)> {
        match over {
            Over::Of(server) => Some((server.to_owned(), self.median(work, measure, server)?)),
            Over::LeastOf(servers) => servers
                .iter()
                .filter_map(|&server| Some((server.to_owned(), self.median(work, measure, server)?)))
                .min_by(|one, other| one.1.total_cmp(&other.1)),
            Over::Amount(amount) => Some((readable(amount), amount)),
        }
    }

    fn median(&self, work: &str, measure: &str, server: &str) -> Option<f64> {
        let series = self
            .series
            .iter()
            .find(|series| (series.work, series.measure, series.server) == (work, measure, server))?;
        Some(median(&series.samples))
    }
}

impl Ratio {
    fn kept(&self) -> bool {
        match self.promise.bound {
            Bound::AtMost(most) => self.value <= most,
            Bound::AtLeast(least) => self.value >= least,
        }
    }
}

impl Bound {
    fn words(self) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {most:.2}"),
            Self::AtLeast(least) => format!("≥ {least:.2}"),
        }
    }
}

/// The middle, or the mean of the two in the middle. A series is never empty.
fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// Three significant digits, and no more decimals than they need.
fn readable(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn distinct<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    all.fold(Vec::new(), |mut seen, item| {
        if !seen.contains(&item) {
            seen.push(item);
        }
        seen
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_medians_and_judges_ratios() {
        let mut report = Report::default();
        for sample in [0.5, 9.0, 0.25] {
            report.add("GET", "CPU s", "pier", sample);
        }
        report.add("GET", "CPU s", "nginx", 1.0);
        report.add("PUT", "per s", "pier", 1234.5);
        let promise =
            Promise { work: "GET", measure: "CPU s", over: Over::Of("nginx"), bound: Bound::AtMost(0.4) };
        let unmeasured =
            Promise { work: "PUT", measure: "per s", over: Over::Of("nginx"), bound: Bound::AtLeast(5.0) };
        assert_eq!(
            report.markdown("pier", &[promise, unmeasured]),
            "| work | measure | pier | nginx |\n|---|---|--:|--:|\n| GET | CPU s | 0.500 | 1.00 |\n| PUT | per s | 1234 | – |\n\n\
             | ratio | promised | measured | kept |\n|---|--:|--:|---|\n| GET, CPU s: pier / nginx | ≤ 0.40 | 0.500 | NO |\n"
        );
        assert_eq!(report.json("pier", &[promise])["ratios"][0]["kept"], false);
    }

    #[test]
    fn finds_the_middle() {
        assert_eq!((median(&[3.0]), median(&[4.0, 1.0]), median(&[9.0, 1.0, 2.0])), (3.0, 2.5, 2.0));
    }
}
