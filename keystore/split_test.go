package keystore

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func TestSplitFits(t *testing.T) {
	for _, limit := range []int{2560, itemLimit} {
		for _, n := range []int{0, 1, 1700, 1800, 1900, 1920, 1921, 4 << 10, maxValue} {
			h, pieces, err := split(sample(n), limit, 1)
			if err != nil {
				t.Fatalf("%d bytes at %d: %v", n, limit, err)
			}
			for _, item := range append(pieces, h.encode()) {
				if len(item) == 0 || len(item) > limit {
					t.Errorf("%d bytes at %d: an item of %d bytes", n, limit, len(item))
				}
			}
		}
	}
	if _, _, err := split(sample(maxValue), 1000, 1); err == nil {
		t.Error("more pieces than may be")
	}
}

func TestGenerationsAlternate(t *testing.T) {
	for used, want := range []int{1, 2, 1} {
		if got := otherGeneration(used); got != want {
			t.Errorf("other than %d: %d, want %d", used, got, want)
		}
	}
}

func TestDecodeHead(t *testing.T) {
	good := newHead([]byte("value"))
	good.Value = []byte("value")
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"whole", good.encode(), nil},
		{"of a piece", `{"v":1,"length":9,"sha256":"00","generation":2,"count":3}`, nil},
		{"newer", `{"v":2,"length":"of another kind"}`, errNewer},
		{"empty", ``, errDamaged},
		{"no version", `{}`, errDamaged},
		{"not JSON", `secret`, errDamaged},
		{"wrong type", `{"v":1,"length":"secret"}`, errDamaged},
		{"cut value", strings.Replace(good.encode(), "dmFsdWU=", "dmFs", 1), errDamaged},
		{"changed value", strings.Replace(good.encode(), "dmFsdWU=", "dmFsdWE=", 1), errDamaged},
		{"wrong length", strings.Replace(good.encode(), `"length":5`, `"length":6`, 1), errDamaged},
		{"unknown generation", `{"v":1,"generation":3,"count":1}`, errDamaged},
		{"negative generation", `{"v":1,"generation":-1,"count":1}`, errDamaged},
		{"no pieces", `{"v":1,"generation":1}`, errDamaged},
		{"too many pieces", `{"v":1,"generation":1,"count":65}`, errDamaged},
		{"pieces without generation", `{"v":1,"count":2}`, errDamaged},
		{"both", `{"v":1,"generation":1,"count":1,"value":"dmFs"}`, errDamaged},
	} {
		if _, err := decodeHead(c.text); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte{}, 2560)
	f.Add(sample(3000), 300)
	f.Add(sample(4<<10), 2560)
	f.Fuzz(func(t *testing.T, value []byte, limit int) {
		h, pieces, err := split(value, min(max(limit, 256), itemLimit), 2)
		if err != nil {
			if len(value) <= maxValue && limit >= 2560 {
				t.Fatal(err)
			}
			return
		}
		read, err := decodeHead(h.encode())
		if err != nil {
			t.Fatal(err)
		}
		joined := read.Value
		for _, piece := range pieces {
			raw, err := base64.StdEncoding.DecodeString(piece)
			if err != nil {
				t.Fatal(err)
			}
			joined = append(joined, raw...)
		}
		if read.Count != len(pieces) || read.check(joined) != nil || !bytes.Equal(joined, value) {
			t.Fatal("not the value that was split")
		}
	})
}

func FuzzDecodeHead(f *testing.F) {
	f.Add(`{"v":1,"length":9,"sha256":"00","generation":2,"count":3}`)
	f.Add(`{"v":1,"length":0,"sha256":"","value":""}`)
	f.Fuzz(func(t *testing.T, text string) {
		h, err := decodeHead(text)
		if err == nil && h.Generation == 0 && h.check(h.Value) != nil {
			t.Fatal("a value that its own head contradicts")
		}
	})
}
