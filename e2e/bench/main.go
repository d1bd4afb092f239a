// Bench measures Valet Key beside floors: programs that do the least a Go program can do for the same purpose. Ours and
// the floor take turns within one run, so that what else the machine does falls on both alike; what is shown are medians.
//
// `make bench` builds the programs it needs and runs it. It fails when something does not work, never because of a figure.
// The names of parts as arguments (socket, process, crowd, bridge, stream, rest) measure those alone. With -quick first,
// each figure is taken once and none is judged: what is learned is that all of it works.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// limit ends a run that hangs.
const limit = 10 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	do := func(ctx context.Context) error { return bench(ctx, os.Args[1:]) }
	switch {
	case len(os.Args) == 2 && os.Args[1] == roleHost:
		do = hostRole
	case len(os.Args) == 2 && os.Args[1] == roleServer:
		do = serverRole
	}
	if err := do(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// part is one thing to measure.
type part struct {
	name, what string
	measure    func(*world, context.Context) ([]figure, error)
}

var parts = []part{
	{"socket", "the socket", (*world).socketFigures},
	{"process", "vk as a whole process", (*world).processFigures},
	{"crowd", "many askers at expiry", (*world).crowdFigures},
	{"bridge", "vk bridge", (*world).bridgeFigures},
	{"stream", "a stream through the gateway", (*world).streamFigures},
	{"rest", "the resident process at rest, which takes its time", (*world).restFigures},
}

// chosen finds the parts by name; no names mean all of them.
func chosen(names []string) ([]part, error) {
	if len(names) == 0 {
		return parts, nil
	}
	var some []part
	for _, name := range names {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no part %q", name)
		}
		some = append(some, parts[i])
	}
	return some, nil
}

func bench(ctx context.Context, names []string) (err error) {
	quick := len(names) > 0 && names[0] == "-quick"
	if quick {
		names = names[1:]
	}
	some, err := chosen(names)
	if err != nil {
		return err
	}
	w, err := newWorld(quick)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	fmt.Println(machine())

	fmt.Fprintln(os.Stderr, "building the floors and starting everything")
	if err := w.build(ctx); err != nil {
		return err
	}
	if slices.ContainsFunc(some, func(p part) bool { return p.name == "rest" }) {
		if err := w.startRest(ctx); err != nil { // first: it comes to rest while the others are measured
			return fmt.Errorf("start the tray: %w", err)
		}
	}
	if err := w.startSocket(ctx); err != nil {
		return err
	}
	var figures []figure
	for _, p := range some {
		fmt.Fprintln(os.Stderr, "measuring "+p.what)
		f, err := p.measure(w, ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", p.what, err)
		}
		figures = append(figures, f...)
	}
	if quick {
		for i := range figures {
			figures[i].aim, figures[i].met = "", ""
		}
	}
	return table(os.Stdout, figures)
}
