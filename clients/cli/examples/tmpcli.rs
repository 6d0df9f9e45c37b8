use clap::Parser;
/// Freehold about text
#[derive(Parser)]
#[command(name = "freehold", version, after_long_help = freehold_cli::AFTER_HELP)]
struct P {
    #[command(flatten)]
    g: freehold_cli::GlobalArgs,
    #[command(subcommand)]
    c: C,
}
#[derive(clap::Subcommand)]
enum C {
    #[command(flatten)]
    X(freehold_cli::Command),
    /// server
    Serve,
}
#[tokio::main]
async fn main() -> std::process::ExitCode {
    let p = P::parse();
    match p.c {
        C::X(c) => freehold_cli::run(p.g, c).await,
        C::Serve => {
            println!("{}", freehold_cli::command().render_help());
            std::process::ExitCode::SUCCESS
        }
    }
}
