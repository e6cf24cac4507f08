//! The place of a problem: file, line and column, the line itself, and a caret under what is wrong.
//!
//! Invariant: one printed line for one line of the file, whatever it holds. Tabs become blanks, wide characters count
//! as two columns, characters that a terminal would obey are replaced, long lines are cut around the caret.

use std::fmt;
use std::ops::Range;

/// The most columns that are shown of a line.
const MAX_WIDTH: usize = 110;
/// The columns that are kept before the caret when a line is cut.
const LEAD: usize = 30;
const TAB: usize = 4;

/// A line of the file, ready to be shown.
pub(super) struct Snippet {
    line: usize,
    column: usize,
    /// What is shown of the line.
    shown: String,
    /// The columns under which the caret stands.
    caret: Range<usize>,
}

impl Snippet {
    /// The line where `span` begins. `secrets` are the parts of the text that must not be shown.
    pub(super) fn new(text: &str, span: Range<usize>, secrets: &[Range<usize>]) -> Self {
        let at = floor(text, span.start);
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[at..].find('\n').map_or(text.len(), |length| at + length);
        let line = text[start..end].trim_end_matches('\r');
        let cells = cells(line, start, secrets);
        let caret = columns(&cells, &(span.start..span.end.max(span.start + 1)));
        let (shown, caret) = cut(&cells, caret);
        Self {
            line: text[..start].matches('\n').count() + 1,
            column: text[start..at].chars().count() + 1,
            shown,
            caret,
        }
    }

    /// The columns that the line number takes.
    pub(super) fn margin(&self) -> usize {
        self.line.to_string().len()
    }

    /// Writes the place, the line, and the caret with the words that belong to it.
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, origin: &str, hint: Option<&str>) -> fmt::Result {
        let margin = self.margin();
        writeln!(f, " {:margin$}--> {origin}:{}:{}", "", self.line, self.column)?;
        writeln!(f, " {:margin$} |", "")?;
        writeln!(f, " {} | {}", self.line, self.shown)?;
        let carets = "^".repeat(self.caret.len().max(1));
        write!(f, " {:margin$} | {:blank$}{carets}", "", "", blank = self.caret.start)?;
        match hint {
            Some(hint) => writeln!(f, " {hint}"),
            None => writeln!(f),
        }
    }
}

/// One character of the line, or one secret.
struct Cell {
    bytes: Range<usize>,
    shown: String,
    width: usize,
}

/// Takes a line apart.
fn cells(line: &str, start: usize, secrets: &[Range<usize>]) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    for (at, c) in line.char_indices() {
        let bytes = start + at..start + at + c.len_utf8();
        let secret = secrets.iter().find(|range| range.contains(&bytes.start));
        if let Some(secret) = secret {
            let hidden = cells.last_mut().filter(|last| secret.contains(&last.bytes.start));
            match hidden {
                Some(last) => last.bytes.end = bytes.end,
                None => cells.push(Cell { bytes, shown: "***".to_owned(), width: 3 }),
            }
            continue;
        }
        let (shown, width) = match c {
            '\t' => (" ".repeat(TAB), TAB),
            c if steers(c) => ("\u{fffd}".to_owned(), 1),
            c => (c.to_string(), width(c)),
        };
        cells.push(Cell { bytes, shown, width });
    }
    cells
}

/// The columns that some bytes take; those past the line's end take none.
fn columns(cells: &[Cell], span: &Range<usize>) -> Range<usize> {
    let before: usize = cells.iter().filter(|cell| cell.bytes.end <= span.start).map(|cell| cell.width).sum();
    let within: usize = cells
        .iter()
        .filter(|cell| cell.bytes.end > span.start && cell.bytes.start < span.end)
        .map(|cell| cell.width)
        .sum();
    before..before + within
}

/// Cuts a long line around the caret.
fn cut(cells: &[Cell], caret: Range<usize>) -> (String, Range<usize>) {
    let total: usize = cells.iter().map(|cell| cell.width).sum();
    if total <= MAX_WIDTH {
        return (cells.iter().map(|cell| cell.shown.as_str()).collect(), caret);
    }
    let from = if caret.end < MAX_WIDTH { 0 } else { caret.start.saturating_sub(LEAD) };
    let mut shown = String::new();
    let mut column = 0;
    let mut left = None;
    let mut width = 0;
    for cell in cells {
        if column >= from {
            if left.is_none() {
                left = Some(column);
                if column > 0 {
                    shown.push('…');
                    width = 1;
                }
            }
            if width + cell.width > MAX_WIDTH {
                shown.push('…');
                break;
            }
            shown.push_str(&cell.shown);
            width += cell.width;
        }
        column += cell.width;
    }
    let mark = usize::from(from > 0);
    let left = left.unwrap_or(0);
    let start = caret.start.saturating_sub(left) + mark;
    let end = (caret.end.saturating_sub(left) + mark).min(width).max(start);
    (shown, start..end)
}

/// The end of the last whole character at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}

/// Whether a terminal would do something else with a character than show it: control characters, and those that
/// turn the direction of the text around (they could make a line look like another one).
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The columns of a terminal that a character takes: the wide blocks of Unicode's East Asian Width, and combining
/// marks. A caret that is one column off under a rare script is not worth another crate.
fn width(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}'
        | '\u{1ab0}'..='\u{1aff}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}
