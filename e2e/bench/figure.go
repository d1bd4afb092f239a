package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// figure is one row of the table, ready to be shown.
type figure struct {
	name, ours, floor, ratio, aim, met string
}

// within is a figure whose aim is a ratio; aim 0 means that there is none. Both sides took turns of so many measurements.
// The ratio is the median of the turns' own ratios: what slowed the machine down for a while slowed both sides of a turn.
func within(name string, ours, floor []time.Duration, turn int, aim float64) figure {
	var ratios []float64
	for i := 0; i+turn <= min(len(ours), len(floor)); i += turn {
		ratios = append(ratios, float64(median(ours[i:i+turn]))/float64(median(floor[i:i+turn])))
	}
	ratio := median(ratios)
	f := figure{name: name, ours: shown(median(ours)), floor: shown(median(floor)), ratio: fmt.Sprintf("%.2f×", ratio)}
	if aim > 0 {
		f.aim, f.met = fmt.Sprintf("≤ %.1f×", aim), yes(ratio <= aim)
	}
	return f
}

// shown is a duration with three digits.
func shown(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

func yes(met bool) string {
	if met {
		return "yes"
	}
	return "NO"
}

func median[T cmp.Ordered](list []T) T {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

func table(out io.Writer, figures []figure) error {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, f := range slices.Concat([]figure{{"figure", "ours", "floor", "ratio", "aim", "met"}}, figures) {
		fmt.Fprintln(w, strings.Join([]string{f.name, f.ours, f.floor, f.ratio, f.aim, f.met}, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) {
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// machine says what was measured on, as far as the system tells.
func machine() string {
	line := fmt.Sprintf("%d cores, %s, %s/%s", runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		line += ", kernel " + strings.TrimSpace(string(release))
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		now, _, _ := strings.Cut(string(load), " ")
		line += ", load " + now + " before the run"
	}
	return line
}
