// Command release does what a release of this repository's modules takes, or
// rehearses it. Run it from the repository's root:
//
//	go run ./internal/release -rehearse          pack, get, build and use every module
//	go run ./internal/release v1.2.3             write the release's go.mod files and print the commands
//	go run ./internal/release -api [-write]      compare the exported API with docs/api, or write it
//	go run ./internal/release -licences [-write] compare docs/licences.md with what is linked, or write it
//
// It exits with 1 if something does not hold, and with 2 if it was called wrongly.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"golang.org/x/mod/semver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	var usage usageError
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// usageError is an error in how the command was called.
type usageError struct{ error }

func run(ctx context.Context, args []string, out, errs io.Writer) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.SetOutput(errs)
	rehearse := flags.Bool("rehearse", false, "pack every module at the next version and use it as a stranger would")
	api := flags.Bool("api", false, "compare the exported API with the listings in docs/api")
	licences := flags.Bool("licences", false, "compare docs/licences.md with what the modules link")
	write := flags.Bool("write", false, "with -api or -licences: write the files instead")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	root, err := repositoryRoot(ctx)
	if err != nil {
		return err
	}
	modules, err := findModules(root)
	if err != nil {
		return err
	}
	switch {
	case *rehearse && flags.NArg() == 0:
		return rehearsal(ctx, root, modules, out)
	case *api && flags.NArg() == 0:
		return compareAPI(ctx, root, modules, *write, out)
	case *licences && flags.NArg() == 0:
		return compareLicences(ctx, root, modules, *write, out)
	case flags.NFlag() == 0 && flags.NArg() == 1 && semver.IsValid(flags.Arg(0)) && semver.Canonical(flags.Arg(0)) == flags.Arg(0):
		return release(ctx, root, modules, flags.Arg(0), out)
	}
	flags.Usage()
	return usageError{errors.New("want -rehearse, -api, -licences, or a version such as v1.2.3")}
}

func repositoryRoot(ctx context.Context) (string, error) {
	return output(ctx, "", nil, "git", "rev-parse", "--show-toplevel")
}

// output runs a command in dir, with env on top of the process's own, and
// returns what it prints, without the last newline. Its error has the end of
// what the command printed.
func output(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail(string(text)+stderr.String(), 25))
	}
	return strings.TrimRight(string(text), "\n"), nil
}

// tail is the last n lines of a text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
