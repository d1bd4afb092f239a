package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// socketFigures measures a token that is held, over the socket.
func (w *world) socketFigures(ctx context.Context) ([]figure, error) {
	var figures []figure
	for _, f := range []struct{ name, do string }{
		{"token held, new connection with identity check", doNew},
		{"token held, connection kept alive", doKeepAlive},
		{"  through our Go package, new connection", doPackageNew},
		{"  through our Go package, kept alive", doPackageKeep},
	} {
		r, err := w.ask(ctx, order{Do: f.do, Blocks: w.times(pairs), Ours: w.socket, Bare: w.echo, Resource: w.resource})
		if err != nil {
			return nil, err
		}
		figures = append(figures, within(f.name, r.Ours, r.Bare, block, 1.5))
	}
	return figures, nil
}

const processPairs = 150

// processFigures measures vk as a whole process, beside the least a Go program can do, which asks the socket's floor.
func (w *world) processFigures(ctx context.Context) ([]figure, error) {
	vk, err := filepath.Abs(filepath.Join("bin", "vk"))
	if err != nil {
		return nil, err
	}
	env := append(os.Environ(), "VK_SOCK="+w.socket)
	var took [2][]time.Duration
	for range w.times(processPairs) {
		for i, argv := range [][]string{{vk, "token", w.resource}, {w.path("ask"), w.echo, w.resource}} {
			cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
			cmd.Env = env
			start := time.Now()
			out, err := cmd.Output()
			if err != nil || len(out) < 100 {
				return nil, fmt.Errorf("%s printed %d bytes and ended with %v", argv[0], len(out), err)
			}
			took[i] = append(took[i], time.Since(start))
		}
	}
	return []figure{within("vk token, the whole process", took[0], took[1], 1, 1.5)}, nil
}

// crowdFigures has a crowd ask at once for a token that has run out, and counts what reaches the issuer.
func (w *world) crowdFigures(ctx context.Context) ([]figure, error) {
	var counts []int64
	var ours, bare []time.Duration
	for _, resource := range w.brief {
		if err := pause(ctx, time.Until(w.expired)); err != nil {
			return nil, err
		}
		before := w.refreshes.Load()
		r, err := w.ask(ctx, order{Do: doCrowd, Ours: w.socket, Bare: w.echo, Resource: resource})
		if err != nil {
			return nil, err
		}
		counts = append(counts, w.refreshes.Load()-before)
		ours, bare = append(ours, r.Ours...), append(bare, r.Bare...)
	}
	most := slices.Max(counts)
	return []figure{
		{name: fmt.Sprintf("%d askers at expiry: refreshes at the issuer", crowd), ours: strconv.FormatInt(most, 10), aim: "exactly 1", met: yes(most == 1 && slices.Min(counts) == 1)},
		within("  until all of them were answered", ours, bare, 1, 0),
	}, nil
}
