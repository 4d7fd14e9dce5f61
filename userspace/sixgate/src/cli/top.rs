//! `sixgate top`: the overview of the running daemon in the terminal.
//!
//! It draws what the daemon reports, and keeps nothing.

use std::{
    io::{self, IsTerminal as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use ratatui::{
    Frame, Terminal,
    backend::TestBackend,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Paragraph, Row, Sparkline, Table},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

use super::{CliError, Exit, Output, escape::escaped};
use crate::{
    config::Config,
    server::{self, Request, Response},
    statistics::{Period, RefusalRow, Snapshot, TopRow},
    status_page::reason_text,
};

/// The arguments of `sixgate top`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Top {
    /// Print one picture as text, and end
    #[arg(long)]
    once: bool,
    /// Seconds between two pictures
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    interval: u64,
}

pub(super) fn run(command: &Top, config: &Config, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let first = ask(config)?;
    if command.once {
        return print(&first, out);
    }
    if !io::stdout().is_terminal() {
        out.note(NO_TERMINAL);
        return Ok(Exit::No);
    }
    // without it, a signal would leave the terminal as it is while pictures are drawn
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP, SIGINT] {
        flag::register(signal, Arc::clone(&ended)).map_err(|source| CliError::Terminal { source })?;
    }
    let mut terminal = ratatui::try_init().map_err(|source| CliError::Terminal { source })?;
    let interval = Duration::from_secs(command.interval);
    let shown = show(&mut terminal, first, config, interval, &ended);
    ratatui::restore();
    shown
}

/// Draws until the user quits or a signal has `ended` it; a daemon that is restarted meanwhile is
/// waited for.
fn show(
    terminal: &mut ratatui::DefaultTerminal,
    first: Snapshot,
    config: &Config,
    interval: Duration,
    ended: &AtomicBool,
) -> Result<Exit, CliError> {
    let mut shown = (first, None);
    loop {
        let (snapshot, failure) = &shown;
        let draw = |frame: &mut Frame<'_>| draw(frame, snapshot, failure.as_deref());
        terminal.draw(draw).map_err(|source| CliError::Terminal { source })?;
        if is_quit_within(interval, ended).map_err(|source| CliError::Terminal { source })? {
            return Ok(Exit::Done);
        }
        shown = match ask(config) {
            Ok(snapshot) => (snapshot, None),
            Err(error) => (shown.0, Some(format!("{:#}", anyhow::Error::new(error)))),
        };
    }
}

/// Whether the user or a signal ends it before `interval` is over; another key shortens it.
fn is_quit_within(interval: Duration, ended: &AtomicBool) -> io::Result<bool> {
    let until = Instant::now() + interval;
    // a signal does not end the wait for a key
    while !event::poll(SIGNAL_POLL.min(until.saturating_duration_since(Instant::now())))? {
        if ended.load(Ordering::Relaxed) {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
    }
    let Event::Key(key) = event::read()? else {
        return Ok(false);
    };
    let is_control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    let quits = matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) || is_control_c;
    Ok(quits && key.kind == KeyEventKind::Press)
}

fn ask(config: &Config) -> Result<Snapshot, CliError> {
    match server::ask(&config.control_socket(), Request::Overview)? {
        Response::Overview(snapshot) => Ok(*snapshot),
        _ => Err(CliError::OddAnswer),
    }
}

/// One picture as lines without colours and without space at their ends.
fn print(snapshot: &Snapshot, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let (width, height) = ONCE_SIZE;
    // it writes into memory, which cannot fail
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(drawn) = terminal.draw(|frame| draw(frame, snapshot, None));
    let cells = drawn.buffer.content().chunks(width.into());
    let lines: Vec<String> =
        cells.map(|line| line.iter().map(ratatui::buffer::Cell::symbol).collect()).collect();
    for line in lines {
        out.line(line.trim_end())?;
    }
    Ok(Exit::Done)
}

fn draw(frame: &mut Frame<'_>, snapshot: &Snapshot, failure: Option<&str>) {
    let problems = snapshot.health.problems.len().clamp(1, PROBLEMS_MAX) as u16;
    let [head, state, numbers, charts, middle, lists, recent, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(problems),
        Constraint::Length(4),
        Constraint::Length(6),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let halves = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(2);
    let half = |area| halves.areas::<2>(area);
    frame.render_widget(Paragraph::new(title(snapshot)), head);
    frame.render_widget(Paragraph::new(problem_lines(snapshot)), state);
    frame.render_widget(numbers_table(snapshot), numbers);
    let [left, right] = half(charts);
    draw_chart(frame, left, "Refusals a minute, last hour", &refusals(&snapshot.hour));
    draw_chart(frame, right, "Messages delivered a minute, last hour", &snapshot.hour.delivered);
    let [left, right] = half(middle);
    frame.render_widget(reasons(snapshot), left);
    frame.render_widget(health(snapshot), right);
    let [left, right] = half(lists);
    frame.render_widget(top_table("Source networks, last day", &snapshot.sources), left);
    frame.render_widget(top_table("Destinations, last day", &snapshot.destinations), right);
    frame.render_widget(recent_list(snapshot), recent);
    let foot_text = failure.map_or_else(|| "q quits".to_owned(), |failure| format!("q quits; {failure}"));
    frame.render_widget(Paragraph::new(foot_text), foot);
}

fn title(snapshot: &Snapshot) -> Line<'_> {
    let health = &snapshot.health;
    Line::from(vec![
        Span::styled(health.hostname.as_str(), bold()),
        Span::raw(format!(
            "  {} mode, sixgate {}, up since {}, now {}",
            health.mode, health.version, health.since, health.now
        )),
    ])
}

fn problem_lines(snapshot: &Snapshot) -> Vec<Line<'_>> {
    let problems = &snapshot.health.problems;
    if problems.is_empty() {
        return vec![Line::raw("no problem is known")];
    }
    let line = |problem| Line::styled(format!("problem: {}", escaped(problem)), bold());
    problems.iter().take(PROBLEMS_MAX).map(|problem| line(problem)).collect()
}

fn numbers_table(snapshot: &Snapshot) -> Table<'_> {
    let Snapshot { health, hour, day, .. } = snapshot;
    let row = |name: &'static str, period: &Period| {
        let numbers = [period.delivered(), period.refused(), period.shadow()];
        let cells = numbers.map(|number| format!("{number:>12}"));
        Row::new([name.to_owned()].into_iter().chain(cells))
    };
    let header = ["", "   delivered", "    refusals", "   in shadow"];
    let responder = if health.is_xdp_attached { "the kernel" } else { "the daemon" };
    let open = Row::new([format!("{} sessions open; refusals by {responder}", health.open)]);
    let widths =
        [Constraint::Length(44), Constraint::Length(12), Constraint::Length(12), Constraint::Length(12)];
    Table::new([row("last hour", hour), row("last day", day), open], widths)
        .header(Row::new(header).style(bold()))
}

fn draw_chart(frame: &mut Frame<'_>, area: Rect, title: &str, bars: &[u64]) {
    let highest = bars.iter().max().copied().unwrap_or_default();
    let block = block(format!("{title} (highest {highest})"));
    // the newest bars, as many as there is space for
    let space = usize::from(block.inner(area).width);
    let shown = &bars[bars.len().saturating_sub(space)..];
    frame.render_widget(Sparkline::default().data(shown).block(block), area);
}

fn refusals(period: &Period) -> Vec<u64> {
    period.refused.iter().map(|reasons| reasons.values().sum()).collect()
}

fn reasons(snapshot: &Snapshot) -> Table<'_> {
    let hour: std::collections::BTreeMap<String, u64> = snapshot.hour.reasons().into_iter().collect();
    let row = |(reason, count): (String, u64)| {
        let in_hour = hour.get(&reason).copied().unwrap_or_default();
        Row::new([
            escaped(&reason_text(&reason)).into_owned(),
            format!("{in_hour:>9}"),
            format!("{count:>9}"),
        ])
    };
    let rows = snapshot.day.reasons().into_iter().map(row);
    counts("Refusals by reason", ["reason", "     hour", "      day"], rows.collect())
}

fn health(snapshot: &Snapshot) -> Table<'_> {
    let Snapshot { health, hour, day, .. } = snapshot;
    let time = |time: Option<f64>| time.map_or_else(|| format!("{:>9}", "-"), |ms| format!("{ms:>6.0} ms"));
    let row = |name: &str, problem: &Option<String>, hour: Option<f64>, day: Option<f64>| {
        let state = if problem.is_some() { "fails" } else { "usable" };
        Row::new([format!("{name} {state}"), time(hour), time(day)])
    };
    let rows = vec![
        row("DNS", &health.dns_problem, hour.dns.mean_ms(), day.dns.mean_ms()),
        row("next hop", &health.next_hop_problem, hour.next_hop.mean_ms(), day.next_hop.mean_ms()),
    ];
    counts("Health, mean times", ["part", "     hour", "      day"], rows)
}

fn top_table<'a>(title: &str, rows: &'a [TopRow]) -> Table<'a> {
    let row = |row: &'a TopRow| {
        Row::new([
            escaped(&row.name).into_owned(),
            format!("{:>9}", row.sessions),
            format!("{:>9}", row.refused),
        ])
    };
    counts(title, ["", " sessions", "  refused"], rows.iter().map(row).collect())
}

fn counts<'a>(title: &str, header: [&'static str; 3], rows: Vec<Row<'a>>) -> Table<'a> {
    let widths = [Constraint::Fill(1), Constraint::Length(9), Constraint::Length(9)];
    let header = Row::new(header).style(Style::new().add_modifier(Modifier::DIM));
    Table::new(rows, widths).header(header).block(block(title.to_owned()))
}

fn recent_list(snapshot: &Snapshot) -> Paragraph<'_> {
    let lines: Vec<Line<'_>> = match snapshot.recent.as_slice() {
        [] => vec![Line::raw("no refusal since the start")],
        rows => rows.iter().map(|row| Line::raw(refusal(row))).collect(),
    };
    Paragraph::new(lines).block(block("Last refusals".to_owned()))
}

fn refusal(row: &RefusalRow) -> String {
    let path =
        |path: &Option<String>| path.as_deref().map_or_else(|| "-".to_owned(), |path| format!("<{path}>"));
    let shadow = if row.is_shadow { " (passed on in shadow mode)" } else { "" };
    let line = format!(
        "{} {} > {} {}{shadow} from {} to {}",
        row.at,
        row.source,
        row.destination,
        reason_text(&row.reason),
        path(&row.mail_from),
        path(&row.recipient)
    );
    escaped(&line).into_owned()
}

fn block(title: String) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(title)
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// How often it is looked whether a signal arrived.
const SIGNAL_POLL: Duration = Duration::from_millis(100);
/// Problems that have a line.
const PROBLEMS_MAX: usize = 5;
/// Columns and lines of a picture as text.
const ONCE_SIZE: (u16, u16) = (160, 48);
const NO_TERMINAL: &str = "the output is not a terminal: use `sixgate top --once`";
const HELP: &str = "\
The daemon keeps the numbers of the last hour and day, and the last refusals, in memory: a restart
begins anew. The status page shows the same (`http.listen`). Keys: q quits.

Exit code 0, 1 if the output is not a terminal and --once is missing, 2 if no daemon answers.

Examples:
  sixgate top
  sixgate top --once";
