package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	watched   = time.Minute      // how long programs at rest are watched
	settling  = 95 * time.Second // until then what a sign-in leaves open has been closed: no connection idles longer than 90 s
	memoryAim = 10 << 10         // how much more memory than the floor the resident process may need, in KiB of its own share
	mappedAim = 15 << 10         // the same, of all that it maps
)

// rest is a desktop of its own, with three programs in its tray.
type rest struct {
	ours, plain, linked int // pids: valetkey, a bare program, and a bare one with as much in its file as valetkey
	since               time.Time
}

// startRest starts the desktop and the programs, and lets ours do once what it is for.
func (w *world) startRest(ctx context.Context) error {
	display, err := w.startListener("Xvfb", "-displayfd", "3", "-screen", "0", "1024x768x24", "-nolisten", "tcp")
	if err != nil {
		return err
	}
	bus, err := w.startListener("dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=3", "--address=unix:path="+w.path("bus"))
	if err != nil {
		return err
	}
	host, err := newTrayHost(bus)
	if err != nil {
		return err
	}
	w.closers = append(w.closers, host.conn.Close)
	env := append(os.Environ(), "DISPLAY=:"+display, "WAYLAND_DISPLAY=", "DBUS_SESSION_BUS_ADDRESS="+bus)

	for _, bare := range []struct {
		name string
		pid  *int
	}{{"tray/plain", &w.rest.plain}, {"tray/linked", &w.rest.linked}} {
		cmd := exec.Command(w.path(bare.name))
		cmd.Env = env
		if err := w.start(bare.name, cmd); err != nil {
			return err
		}
		if *bare.pid, err = host.next(ctx); err != nil {
			return w.withLog(bare.name, err)
		}
	}
	policy, err := w.policy() // nobody clicks in a window here
	if err != nil {
		return err
	}
	socket, _, err := w.startApp(ctx, env, "tray", "--policy", policy)
	if err != nil {
		return err
	}
	if w.rest.ours, err = host.next(ctx); err != nil {
		return w.withLog("tray", err)
	}
	resource, err := w.serve(0, nil)
	if err != nil {
		return err
	}
	_, err = w.ask(ctx, order{Do: doToken, Ours: socket, Resource: resource})
	w.rest.since = time.Now()
	return w.withLog("tray", err)
}

// startListener starts a program that writes where it listens to its descriptor 3.
func (w *world) startListener(name string, args ...string) (where string, err error) {
	in, out, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer in.Close()
	cmd := exec.Command(name, args...)
	cmd.ExtraFiles = []*os.File{out}
	err = w.start(name, cmd)
	out.Close()
	if err != nil {
		return "", err
	}
	in.SetReadDeadline(time.Now().Add(20 * time.Second))
	where, err = bufio.NewReader(in).ReadString('\n')
	return strings.TrimSpace(where), w.withLog(name, err)
}

// restFigures watches the programs at rest, all in the same minute.
func (w *world) restFigures(ctx context.Context) ([]figure, error) {
	if !w.quick {
		if err := pause(ctx, time.Until(w.rest.since.Add(settling))); err != nil {
			return nil, err
		}
	}
	pids := [3]int{w.rest.ours, w.rest.plain, w.rest.linked}
	switched, woken, err := watch(ctx, pids, w.times(int(watched/time.Second)))
	if err != nil {
		return nil, err
	}
	var figures []figure
	for _, m := range []struct {
		name, file, field string
		beside            int   // which of pids
		aim               int64 // KiB more
	}{
		{"tray at rest: memory (RSS)", "status", "VmRSS:", 1, mappedAim},
		{"  without files that can be read again", "status", "RssAnon:", 1, 0},
		{"  beside a bare program with ours linked in", "status", "VmRSS:", 2, 0},
		{"tray at rest: memory (PSS)", "smaps_rollup", "Pss:", 1, memoryAim},
	} {
		ours, err := field(filepath.Join("/proc", strconv.Itoa(pids[0]), m.file), m.field)
		if errors.Is(err, os.ErrPermission) { // it keeps its memory from other programs of its user
			continue
		} else if err != nil {
			return nil, err
		}
		floor, err := field(filepath.Join("/proc", strconv.Itoa(pids[m.beside]), m.file), m.field)
		if err != nil {
			return nil, err
		}
		figures = append(figures, heavier(m.name, ours, floor, m.aim))
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	return append(figures,
		figure{name: "tray at rest: context switches in a minute", ours: number(switched[0]), floor: number(switched[1])},
		figure{name: "  in so many seconds of it", ours: number(woken[0]), floor: number(woken[1]),
			aim: "≤ floor + 1", met: yes(woken[0] <= woken[1]+1)}, // Go's runtime looks around once a minute, in either
	), nil
}

// watch counts for some seconds the context switches of each process, and the seconds in which there was any.
func watch(ctx context.Context, pids [3]int, seconds int) (switched, woken [3]int64, err error) {
	var before [3]int64
	for second := range seconds + 1 {
		for i, pid := range pids {
			now, err := switches(pid)
			if err != nil {
				return switched, woken, err
			}
			if second > 0 && now > before[i] {
				switched[i] += now - before[i]
				woken[i]++
			}
			before[i] = now
		}
		if err := pause(ctx, time.Second); err != nil {
			return switched, woken, err
		}
	}
	return switched, woken, nil
}

// heavier is a figure in KiB whose aim is a difference; aim 0 means that there is none.
func heavier(name string, ours, floor, aim int64) figure {
	mb := func(format string, kib int64) string { return fmt.Sprintf(format+" MB", float64(kib)/1024) }
	f := figure{name: name, ours: mb("%.1f", ours), floor: mb("%.1f", floor), ratio: mb("%+.1f", ours-floor)}
	if aim > 0 {
		f.aim, f.met = mb("≤ %+.0f", aim), yes(ours-floor <= aim)
	}
	return f
}

// switches counts how often all threads of a process were put on or taken off a processor: each time it wakes up is one.
func switches(pid int) (sum int64, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err == nil && len(threads) == 0 {
		err = fmt.Errorf("process %d has ended, or this system has no /proc", pid)
	}
	if err != nil {
		return 0, err
	}
	for _, status := range threads {
		for _, name := range []string{"voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"} {
			n, err := field(status, name)
			if err != nil {
				return 0, err
			}
			sum += n
		}
	}
	return sum, nil
}

// field reads a number of a file of /proc whose lines begin with their names.
func field(file, name string) (int64, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(content) {
		if words := strings.Fields(string(line)); len(words) > 1 && words[0] == name {
			return strconv.ParseInt(words[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no line %s", file, name)
}
