package app

import (
	"strings"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"
)

func TestProseBreaksLines(t *testing.T) {
	inVariant(t, theme.VariantLight)
	long := strings.Repeat("abcdefghij", 30)
	texts := map[string][]span{
		"words":        {plain("one two "), strong("three"), plain(" four five six seven eight nine ten eleven twelve")},
		"joined spans": {plain("https://mcp."), strong("example.com"), muted("/a/very/long/path?with=a&query=string")},
		"a long word":  {plain("see " + long + " there")},
		"only spaces":  {plain("     ")},
		"nothing":      {},
		"breaks":       {plain("a\nb\tc\r\nd")},
		"wide letters": {mono(strings.Repeat("\u4e2d\u6587", 50))},
	}
	for name, spans := range texts {
		whole := strings.Join(strings.Fields(text(spans...).String()), "")
		for _, w := range []float32{1, 20, 60, 200, 1000} {
			p := text(spans...)
			var got strings.Builder
			for _, line := range p.wrapped(w) {
				var end float32
				runes := 0
				for _, piece := range line {
					got.WriteString(piece.text)
					s := p.spans[piece.span]
					end += fyne.MeasureText(piece.text, p.sizeOf(s), s.style).Width
					runes += len([]rune(piece.text))
				}
				if end > w+1 && runes > 1 {
					t.Errorf("%s at %v: a line of %v", name, w, end)
				}
			}
			if shown := strings.Join(strings.Fields(got.String()), ""); shown != whole {
				t.Errorf("%s at %v shows %q of %q", name, w, shown, whole)
			}
		}
	}
}

func TestProseIsAsHighAsItsLines(t *testing.T) {
	inVariant(t, theme.VariantLight)
	p := text(plain(strings.Repeat("word ", 40)))
	one := text(plain("word")).heightFor(500)
	if lines := len(p.wrapped(120)); lines < 5 || p.heightFor(120) != one*float32(lines) {
		t.Errorf("%d lines, %v high, one is %v", lines, p.heightFor(120), one)
	}
}
