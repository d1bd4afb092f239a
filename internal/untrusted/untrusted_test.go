package untrusted

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	tests := []struct {
		name string
		in   string
		max  int
		want string
	}{
		{"plain", "Example Files", 100, "Example Files"},
		{"empty", "", 100, ""},
		{"no room", "a", 0, ""},
		{"negative room", "a", -1, ""},
		{"other scripts", "Größe 例え שלום", 100, "Größe 例え שלום"},
		{"line breaks and tabs", " a\r\n\tb\u2028c\u2029d\u00a0e ", 100, "a b c d e"},
		{"control characters", "a\x00b\x1b[31mc\x7f\u0085d", 100, "ab[31mc d"},
		{"bidi override", "gro.\u202eelgoog\u202c", 100, "gro.elgoog"},
		{"bidi isolate and mark", "\u2066a\u2069\u200fb\u061c", 100, "ab"},
		{"zero width", "pay\u200bpal\ufeff\u2060\u00ad", 100, "paypal"},
		{"tag characters", "a\U000e0041\U000e0042", 100, "a"},
		{"variation selectors", "a\ufe0f\U000e0100", 100, "a"},
		{"fillers", "a\u3164\u115f\u034fb", 100, "ab"},
		{"private use", "a\ue000b", 100, "ab"},
		{"not UTF-8", "a\xffb", 100, "a\ufffdb"},
		{"stacked marks", "e" + strings.Repeat("\u0301", 20) + "f", 100, "e\u0301\u0301\u0301f"},
		{"mark with nothing below", "\u0301a \u0301b", 100, "a b"},
		{"exactly fits", "abcde", 5, "abcde"},
		{"too long", "abcdef", 5, "abcd…"},
		{"cut at a space", "abc def", 5, "abc…"},
		{"trailing space is not too long", "abcde   \n", 5, "abcde"},
		{"hidden runes do not count", "a\u200b\u200b\u200b\u200b\u200bb", 2, "ab"},
		{"one rune", "ab", 1, "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Text(tt.in, tt.max); got != tt.want {
				t.Errorf("Text(%q, %d) = %q, want %q", tt.in, tt.max, got, tt.want)
			}
		})
	}
}

func FuzzText(f *testing.F) {
	f.Add("Example\u202e \xff\n", 5)
	f.Add(strings.Repeat("a\u0301", 300), 100)
	f.Fuzz(func(t *testing.T, in string, limit int) {
		got := Text(in, limit)
		if n := utf8.RuneCountInString(got); n > max(limit, 0) {
			t.Errorf("%d runes, want at most %d: %q", n, limit, got)
		}
		if !utf8.ValidString(got) || strings.TrimSpace(got) != got {
			t.Errorf("not clean: %q", got)
		}
		for _, r := range got {
			if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
				t.Errorf("%q holds %U", got, r)
			}
		}
		if again := Text(got, limit); again != got {
			t.Errorf("not stable: %q becomes %q", got, again)
		}
	})
}

func TestVisible(t *testing.T) {
	if got := Visible("a\x1b[31mb\u202ec\u200bd\ne\u2028é 漢"); got != "a\ufffd[31mb\ufffdc\ufffdd\ufffde\ufffdé 漢" {
		t.Errorf("%q", got)
	}
}
