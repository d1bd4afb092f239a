package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func ms(list ...int) (times []time.Duration) {
	for _, n := range list {
		times = append(times, time.Duration(n)*time.Millisecond)
	}
	return times
}

func TestWithin(t *testing.T) {
	for name, c := range map[string]struct {
		ours, floor []time.Duration
		turn        int
		aim         float64
		want        figure
	}{
		"met":          {ms(3, 90, 2), ms(2, 2, 2), 3, 1.5, figure{"n", "3ms", "2ms", "1.50×", "≤ 1.5×", "yes"}},
		"missed":       {ms(4, 4, 4), ms(1, 2, 80), 3, 1.5, figure{"n", "4ms", "2ms", "2.00×", "≤ 1.5×", "NO"}},
		"just shown":   {ms(4), ms(2), 1, 0, figure{"n", "4ms", "2ms", "2.00×", "", ""}},
		"a slow while": {ms(3, 30, 30, 30, 3), ms(2, 20, 20, 20, 2), 1, 1.5, figure{"n", "30ms", "20ms", "1.50×", "≤ 1.5×", "yes"}},
		"three digits": {[]time.Duration{4_160_321, 1}, []time.Duration{98_765, 1}, 1, 0, figure{"n", "4.16ms", "98.8µs", "42.12×", "", ""}},
	} {
		if got := within("n", c.ours, c.floor, c.turn, c.aim); got != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestHeavier(t *testing.T) {
	for _, c := range []struct {
		ours, floor, aim int64
		want             figure
	}{
		{20 << 10, 5 << 10, 15 << 10, figure{"n", "20.0 MB", "5.0 MB", "+15.0 MB", "≤ +15 MB", "yes"}},
		{21 << 10, 5 << 10, 15 << 10, figure{"n", "21.0 MB", "5.0 MB", "+16.0 MB", "≤ +15 MB", "NO"}},
		{4 << 10, 5 << 10, 0, figure{"n", "4.0 MB", "5.0 MB", "-1.0 MB", "", ""}},
	} {
		if got := heavier("n", c.ours, c.floor, c.aim); got != c.want {
			t.Errorf("%+v", got)
		}
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	if err := table(&out, []figure{{"long name", "1ms", "1ms", "1.00×", "≤ 1.5×", "yes"}, {name: "x", ours: "1", met: "NO"}}); err != nil {
		t.Fatal(err)
	}
	want := "figure     ours  floor  ratio  aim     met\nlong name  1ms   1ms    1.00×  ≤ 1.5×  yes\nx          1                           NO\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestChosen(t *testing.T) {
	if all, err := chosen(nil); err != nil || len(all) != len(parts) {
		t.Errorf("%v, %v", all, err)
	}
	if one, err := chosen([]string{"rest"}); err != nil || len(one) != 1 || one[0].name != "rest" {
		t.Errorf("%v, %v", one, err)
	}
	if _, err := chosen([]string{"socket", "nothing"}); err == nil {
		t.Error("a part that is not there was chosen")
	}
}

func TestField(t *testing.T) {
	file := filepath.Join(t.TempDir(), "status")
	if err := os.WriteFile(file, []byte("Name:\tVmRSS: 7\nVmRSS:\t  123 kB\nEmpty:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := field(file, "VmRSS:"); err != nil || n != 123 {
		t.Errorf("%d, %v", n, err)
	}
	for _, name := range []string{"Name:", "Empty:", "RSS:"} {
		if n, err := field(file, name); err == nil {
			t.Errorf("%s is %d", name, n)
		}
	}
}

func TestBlankKeepsTheLength(t *testing.T) {
	const content = `{"access_token":"abc.def","token_type":"Bearer"}`
	if got := blank([]byte(content)); got != `{"access_token":"xxxxxxx","token_type":"Bearer"}` {
		t.Error(got)
	}
}
