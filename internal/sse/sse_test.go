package sse

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var errTooLarge = errors.New("too large")

func readEvents(r *Reader) []string {
	got := []string{}
	for {
		kind, data, err := r.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				got = append(got, "ERROR "+err.Error())
			}
			return got
		}
		if kind == "" || kind == "message" {
			got = append(got, fmt.Sprintf("%s|%s", r.LastID, data))
		}
	}
}

func TestEvents(t *testing.T) {
	for in, want := range map[string][]string{
		"":                                       {},
		"data: a\n\n":                            {"|a"},
		"data:a\r\rdata: b\r\n\r\n":              {"|a", "|b"},
		"data: a\ndata:  b\ndata\n\n":            {"|a\n b\n"},
		": comment\ndata: a\n: more\nfoo: x\n\n": {"|a"},
		"event: message\ndata: a\n\nevent: other\ndata: b\n\n":     {"|a"},
		"event: other\nevent: message\ndata: a\n\n":                {"|a"},
		"event:\ndata: a\n\n":                                      {"|a"},
		"id: 1\ndata:\n\ndata: a\n\n":                              {"1|a"},
		"id: 1\n\nid: 2\ndata: a\n\nid\ndata: b\n\n":               {"2|a", "|b"},
		"id: 1\x00\ndata: a\n\n":                                   {"|a"},
		"id: 1\ndata: a\n\nid: 2\nevent: x\ndata: b\n\ndata:c\n\n": {"1|a", "2|c"},
		"\ufeffdata: a\n\n\ufeffdata: b\n\n":                       {"|a"},
		"data: a":                                                  {"|a"}, // an end without an empty line
		"data: a\nid: 7\n":                                         {"7|a"},
		"data: a\n\nid: 9":                                         {"|a"},
		"\n\n\n\r\r\r\n":                                           {},
		"data: " + strings.Repeat("x", 100) + "\n\n":               {"|" + strings.Repeat("x", 100)},
		"data: " + strings.Repeat("x", 101) + "\n\n":               {"ERROR too large"},
		"data: " + strings.Repeat("x", 100) + "\ndata:":            {"ERROR too large"},
		strings.Repeat("data: xxxxxxxxxx\n", 10):                   {"ERROR too large"},
		": " + strings.Repeat("x", 200) + "\ndata: a\n\n":          {"ERROR too large"},
	} {
		for _, stream := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in)), iotest.DataErrReader(strings.NewReader(in))} {
			r := NewReader(stream, 100, errTooLarge)
			if got := readEvents(r); !reflect.DeepEqual(got, want) {
				t.Errorf("%.60q: %.60q, want %.60q", in, got, want)
			}
		}
	}
	broken := io.MultiReader(strings.NewReader("id: 3\ndata: a\n\ndata: b\n"), iotest.ErrReader(io.ErrUnexpectedEOF))
	r := NewReader(broken, 100, errTooLarge)
	if got := readEvents(r); !reflect.DeepEqual(got, []string{"3|a", "ERROR unexpected EOF"}) || r.LastID != "3" {
		t.Errorf("%q, %q", got, r.LastID)
	}
}

func TestRetry(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"": time.Second, "retry: 500\n\n": 500 * time.Millisecond, "retry:0\n\n": 0, "retry: 5s\n\n": time.Second, "retry: -1\n\n": time.Second,
		"retry: 4294967295\n\n": LongestRetry, "retry: 99999999999999999999\n\n": time.Second,
	} {
		r := NewReader(strings.NewReader(in), 100, errTooLarge)
		if readEvents(r); r.Retry != want {
			t.Errorf("%q: %v, want %v", in, r.Retry, want)
		}
	}
}

// TestCarriageReturn: an event that ends in CR is there at once, not when the next byte shows whether it is a LF.
func TestCarriageReturn(t *testing.T) {
	in, w := io.Pipe()
	defer in.Close()
	r := NewReader(in, 100, errTooLarge)
	go io.WriteString(w, "data: a\r\r")
	if _, data, err := r.Next(); string(data) != "a" || err != nil {
		t.Fatalf("%q, %v", data, err)
	}
	go func() { io.WriteString(w, "\ndata: b\r\n\r\n"); w.Close() }()
	if _, data, err := r.Next(); string(data) != "b" || err != nil {
		t.Fatalf("%q, %v", data, err)
	}
}

// TestTail: where a last event may be put.
func TestTail(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "data: x\n\n": true, "data: x\r\n\r\n": true, "data: x\r\r": true, "data: x\n\r\n": true, ":\n\n\n": true,
		"data: x": false, "data: x\n": false, "data: x\r\n": false, "data: x\r": false, "\n": false,
	} {
		for _, size := range []int{1, 3, 100} {
			var end Tail
			for in := bufio.NewReader(strings.NewReader(text)); ; {
				part := make([]byte, size)
				n, err := in.Read(part)
				if err != nil {
					break
				}
				end.Add(part[:n])
			}
			if end.BetweenEvents() != want {
				t.Errorf("%q in parts of %d: %v", text, size, !want)
			}
		}
	}
}

func FuzzEvents(f *testing.F) {
	for _, s := range []string{"id: 1\ndata: {}\n\n", "data: a\rdata: b\r\n\r\n", ":\n\n\ufeff", "retry: 5\ndata", "data: x\n\ndata: y"} {
		f.Add([]byte(s), byte(0))
	}
	f.Fuzz(func(t *testing.T, in []byte, most byte) {
		read := func(stream io.Reader) ([]string, string, time.Duration) {
			r := NewReader(stream, 8+int(most), errTooLarge)
			var got []string
			for {
				_, data, err := r.Next()
				if len(data) > r.max {
					t.Fatalf("%d bytes, more than %d", len(data), r.max)
				}
				if err != nil {
					return append(got, err.Error()), r.LastID, r.Retry
				}
				got = append(got, string(data))
			}
		}
		a, aID, aRetry := read(bytes.NewReader(in))
		b, bID, bRetry := read(iotest.OneByteReader(bytes.NewReader(in)))
		if !reflect.DeepEqual(a, b) || aID != bID || aRetry != bRetry {
			t.Fatalf("%q at once, %q byte by byte", a, b)
		}
	})
}
