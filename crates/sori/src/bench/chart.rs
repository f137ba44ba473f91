//! Line charts as SVG: what a picture of measurements needs, and no more.

use std::fmt::Write;

/// One chart.
pub(super) struct Chart {
    pub title: String,
    /// What the horizontal axis is; it is logarithmic.
    pub across: &'static str,
    pub lines: Vec<Line>,
}

/// Points joined by a line.
pub(super) struct Line {
    pub name: String,
    /// Both coordinates, the first above 0.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 260.0;
/// Left, top, right, bottom.
const MARGINS: [f64; 4] = [52.0, 44.0, 16.0, 44.0];
const COLOURS: [&str; 4] = ["#1f6feb", "#d1242f", "#1a7f37", "#8250df"];

/// An SVG document with charts side by side.
pub(super) fn page(charts: &[Chart]) -> String {
    let width = WIDTH * charts.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    for (place, chart) in charts.iter().enumerate() {
        draw(&mut svg, chart, place as f64 * WIDTH).expect("a string takes everything");
    }
    svg + "</svg>\n"
}

fn draw(svg: &mut String, chart: &Chart, left: f64) -> std::fmt::Result {
    let [margin_left, top, right, bottom] = MARGINS;
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    let (low, high) = points().fold((f64::MAX, f64::MIN), |(l, h), p| {
        (l.min(p.0.ln()), h.max(p.0.ln()))
    });
    let most = points().fold(0.0f64, |most, p| most.max(p.1)) * 1.1;
    let x = |value: f64| {
        let share = if high > low {
            (value.ln() - low) / (high - low)
        } else {
            0.5
        };
        left + margin_left + share * (WIDTH - margin_left - right)
    };
    let floor = HEIGHT - bottom;
    let y = |value: f64| floor - value / most.max(1e-9) * (floor - top);
    writeln!(
        svg,
        "<text x=\"{:.0}\" y=\"18\" font-weight=\"bold\" font-size=\"13\">{}</text>",
        left + margin_left,
        chart.title
    )?;
    for step in 0..=4 {
        let value = most * f64::from(step) / 4.0;
        let (from, to, at) = (left + margin_left, left + WIDTH - right, y(value));
        writeln!(
            svg,
            "<path d=\"M{from:.1} {at:.1}H{to:.1}\" stroke=\"#d0d7de\"/>"
        )?;
        let digits = if most < 10.0 { 2 } else { 0 };
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.digits$}</text>",
            from - 6.0,
            at + 4.0
        )?;
    }
    let mut marks: Vec<f64> = points().map(|p| p.0).collect();
    marks.sort_by(f64::total_cmp);
    marks.dedup();
    for mark in marks {
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{mark}</text>",
            x(mark),
            floor + 16.0
        )?;
    }
    let middle = left + margin_left + (WIDTH - margin_left - right) / 2.0;
    writeln!(
        svg,
        "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#57606a\">{}</text>",
        floor + 34.0,
        chart.across
    )?;
    for (index, line) in chart.lines.iter().enumerate() {
        let points: Vec<_> = line.points.iter().map(|p| (x(p.0), y(p.1))).collect();
        trace(svg, &line.name, &points, left + margin_left, index)?;
    }
    Ok(())
}

/// Draws one line through points on the page, and its name above the chart.
fn trace(
    svg: &mut String,
    name: &str,
    points: &[(f64, f64)],
    left: f64,
    index: usize,
) -> std::fmt::Result {
    let colour = COLOURS[index % COLOURS.len()];
    let path: Vec<_> = points
        .iter()
        .map(|(x, y)| format!("{x:.1} {y:.1}"))
        .collect();
    let path = path.join("L");
    writeln!(
        svg,
        "<path d=\"M{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
    )?;
    for (x, y) in points {
        writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
        )?;
    }
    let at = left + 78.0 * index as f64;
    writeln!(
        svg,
        "<text x=\"{at:.1}\" y=\"34\" fill=\"{colour}\">{name}</text>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stand_inside_the_page_and_higher_values_higher() {
        let lines = vec![Line {
            name: "one".into(),
            points: vec![(1.0, 2.0), (10.0, 4.0)],
        }];
        let svg = page(&[Chart {
            title: "t".into(),
            across: "minutes",
            lines,
        }]);
        let places: Vec<Vec<f64>> = svg
            .lines()
            .filter(|line| line.starts_with("<circle"))
            .map(|line| {
                line.split('"')
                    .filter_map(|part| part.parse().ok())
                    .collect()
            })
            .collect();
        assert_eq!(places.len(), 2);
        assert!(
            places[0][0] < places[1][0] && places[0][1] > places[1][1],
            "{places:?}"
        );
        assert!(
            places
                .iter()
                .all(|p| p[0] > 0.0 && p[0] < WIDTH && p[1] > 0.0 && p[1] < HEIGHT)
        );
    }
}
