package bridge

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// readLines reads everything; what was too long reads "TOO LONG", and what stood before the end "…|EOF".
func readLines(l *lineReader) []string {
	var got []string
	for {
		text, err := l.next()
		switch {
		case errors.Is(err, errTooLarge):
			got = append(got, "TOO LONG")
		case errors.Is(err, io.EOF):
			return append(got, string(text)+"|EOF")
		case err != nil:
			return append(got, err.Error())
		default:
			got = append(got, string(text))
		}
	}
}

func TestLines(t *testing.T) {
	big := strings.Repeat("x", 40_000)
	for in, want := range map[string][]string{
		"":                        {"|EOF"},
		"a\nb\n":                  {"a", "b", "|EOF"},
		"a\r\n\n":                 {"a\r", "", "|EOF"},
		"half":                    {"half|EOF"},
		big + "\n":                {big, "|EOF"},
		big + "x\nafter\n":        {"TOO LONG", "after", "|EOF"},
		big + big + big + "\nb\n": {"TOO LONG", "b", "|EOF"},
		big + big:                 {"|EOF"},
		"a\n" + big + "y\n" + "b": {"a", "TOO LONG", "b|EOF"},
	} {
		for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in))} {
			l := newLineReader(r)
			l.max = len(big)
			if got := readLines(l); !reflect.DeepEqual(got, want) {
				t.Errorf("%.20q: %.40q, want %.40q", in, got, want)
			}
		}
	}
	if got := readLines(newLineReader(iotest.ErrReader(errors.New("broken")))); !reflect.DeepEqual(got, []string{"broken"}) {
		t.Errorf("%q", got)
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb\n\nc"), 3)
	f.Add([]byte(strings.Repeat("x", 100)+"\n{}"), 10)
	f.Fuzz(func(t *testing.T, in []byte, most int) {
		l := newLineReader(bytes.NewReader(in))
		l.max = 1 + max(0, most)%64
		var back [][]byte
		for {
			text, err := l.next()
			if len(text) > l.max+1 {
				t.Fatalf("a line of %d bytes, more than %d", len(text), l.max)
			}
			back = append(back, text)
			if errors.Is(err, io.EOF) {
				break
			}
		}
		want := bytes.Split(in, []byte("\n"))
		if len(back) != len(want) {
			t.Fatalf("%d lines, want %d", len(back), len(want))
		}
		for i := range want {
			if len(want[i]) <= l.max && !bytes.Equal(back[i], want[i]) {
				t.Fatalf("line %d: %q, want %q", i, back[i], want[i])
			}
		}
	})
}
