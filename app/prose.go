package app

import (
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// span is a piece of text in one style. It never holds a line break.
type span struct {
	text  string
	color fyne.ThemeColorName // "": foreground
	size  fyne.ThemeSizeName  // "": text
	style fyne.TextStyle
}

func plain(text string) span { return span{text: text} }
func strong(text string) span {
	return span{text: text, style: fyne.TextStyle{Bold: true}}
}
func muted(text string) span { return span{text: text, color: colorMuted} }
func small(text string) span { return span{text: text, color: colorMuted, size: sizeSmall} }
func mono(text string) span {
	return span{text: text, style: fyne.TextStyle{Monospace: true}}
}

// sized gives all spans a size.
func sized(size fyne.ThemeSizeName, spans ...span) []span {
	for i := range spans {
		spans[i].size = size
	}
	return spans
}

// prose is text in several styles, broken into lines at spaces, and inside a word that is longer than a line.
type prose struct {
	widget.BaseWidget
	spans  []span
	single bool // asks for the width that one line takes

	got    width
	broken map[width][][]piece // lines by width: Fyne asks for a few widths in turn
}

// piece is what one line shows of one span.
type piece struct {
	span int
	text string
	w    float32
}

func text(spans ...span) *prose {
	p := &prose{spans: spans}
	p.ExtendBaseWidget(p)
	return p
}

// line is text that asks for the width of one line.
func line(spans ...span) *prose {
	p := text(spans...)
	p.single = true
	return p
}

func (p *prose) set(spans ...span) {
	p.spans, p.broken = spans, nil
	p.Refresh()
}

// String is the text without its styles.
func (p *prose) String() string { return joined(p.spans) }

func joined(spans []span) string {
	var b strings.Builder
	for _, s := range spans {
		b.WriteString(s.text)
	}
	return b.String()
}

func (p *prose) sizeOf(s span) float32 {
	if s.size == "" {
		return theme.Size(theme.SizeNameText)
	}
	return theme.Size(s.size)
}

// hand is text of a size and style.
type hand struct {
	size  float32
	style fyne.TextStyle
}

// letters holds the widths of single letters in a hand: to shape whole lines for every try of a break takes seconds
// for a long text. The sum of the letters is the width of a text or a little more.
type letters struct {
	hand
	height float32
	widths map[rune]float32
}

const mostLetters = 10_000 // then it starts anew: a stranger's text may hold every letter there is

// hands is used by Fyne's main goroutine only.
var hands = map[hand]*letters{}

func (p *prose) letters(s span) *letters {
	h := hand{p.sizeOf(s), s.style}
	l := hands[h]
	if l == nil {
		l = &letters{hand: h, height: fyne.MeasureText("x", h.size, h.style).Height, widths: map[rune]float32{}}
		hands[h] = l
	}
	return l
}

func (l *letters) width(r rune) float32 {
	w, ok := l.widths[r]
	if !ok {
		if len(l.widths) >= mostLetters {
			clear(l.widths)
		}
		w = fyne.MeasureText(string(r), l.size, l.style).Width
		l.widths[r] = w
	}
	return w
}

// measure is the width of a text, or a little more.
func (p *prose) measure(s span, text string) (w float32) {
	l := p.letters(s)
	for _, r := range text {
		w += l.width(r)
	}
	return w
}

// wrapped breaks the spans into lines of a width.
func (p *prose) wrapped(w float32) [][]piece {
	if lines, ok := p.broken[width(w)]; ok {
		return lines
	}
	b := breaker{prose: p, width: w}
	for i, s := range p.spans {
		for n, word := range strings.Split(strings.Map(oneLine, s.text), " ") {
			if n > 0 {
				b.word()
				b.space(i)
			}
			if word != "" {
				b.parts = append(b.parts, piece{span: i, text: word, w: p.measure(s, word)})
			}
		}
	}
	b.word()
	lines := append(b.lines, b.line)
	if p.broken == nil || len(p.broken) >= 8 {
		p.broken = map[width][][]piece{}
	}
	p.broken[width(w)] = lines
	return lines
}

func oneLine(r rune) rune {
	if r == '\n' || r == '\r' || r == '\t' {
		return ' '
	}
	return r
}

// breaker builds lines. A word may consist of parts in several styles.
type breaker struct {
	*prose
	width float32
	lines [][]piece
	line  []piece
	x     float32
	parts []piece // of the word under way
	gap   *piece  // a space that is drawn only if a word follows on its line
}

func (b *breaker) space(span int) {
	if b.x > 0 && b.gap == nil {
		b.gap = &piece{span: span, text: " ", w: b.measure(b.spans[span], " ")}
	}
}

func (b *breaker) put(p piece) {
	b.x += p.w
	if n := len(b.line); n > 0 && b.line[n-1].span == p.span {
		b.line[n-1].text += p.text
		b.line[n-1].w += p.w
		return
	}
	b.line = append(b.line, p)
}

func (b *breaker) newLine() {
	b.lines, b.line, b.x, b.gap = append(b.lines, b.line), nil, 0, nil
}

func (b *breaker) word() {
	if len(b.parts) == 0 {
		return
	}
	var w, gap float32
	for _, p := range b.parts {
		w += p.w
	}
	if b.gap != nil {
		gap = b.gap.w
	}
	if b.x > 0 && b.x+gap+w > b.width {
		b.newLine()
	}
	if b.gap != nil {
		b.put(*b.gap)
		b.gap = nil
	}
	for _, p := range b.parts {
		b.long(p)
	}
	b.parts = nil
}

// long puts a part and breaks it where a line is full: after a mark of a URL if one is near, on a new line if it fits
// there as a whole, and anywhere else.
func (b *breaker) long(p piece) {
	for b.x+p.w > b.width+0.5 {
		runes := []rune(p.text)
		fits := b.fitting(p.span, runes, b.width-b.x)
		if fits >= len(runes) {
			break
		}
		mark := strings.LastIndexAny(string(runes[:fits]), "./?&=_:-")
		switch {
		case mark > len(string(runes[:fits]))/2:
			fits = len([]rune(p.text[:mark+1]))
		case b.x > 0 && p.w <= b.width:
			fits = 0
		case b.x == 0:
			fits = max(fits, 1)
		}
		if fits > 0 {
			head := string(runes[:fits])
			b.put(piece{span: p.span, text: head, w: b.measure(b.spans[p.span], head)})
		}
		p.text = string(runes[fits:])
		p.w = b.measure(b.spans[p.span], p.text)
		b.newLine()
	}
	b.put(p)
}

// fitting is how many letters fit into a width.
func (b *breaker) fitting(span int, runes []rune, width float32) int {
	l, w := b.letters(b.spans[span]), float32(0)
	for i, r := range runes {
		if w += l.width(r); w > width {
			return i
		}
	}
	return len(runes)
}

func (p *prose) lineHeight(line []piece) float32 {
	var h float32
	for _, piece := range line {
		h = max(h, p.letters(p.spans[piece.span]).height)
	}
	if h == 0 {
		h = p.letters(span{}).height
	}
	return h
}

func (p *prose) heightFor(w float32) (h float32) {
	for _, line := range p.wrapped(w) {
		h += p.lineHeight(line)
	}
	return h
}

// natural is the width of the text on one line, as far as it matters.
func (p *prose) natural() (w float32) {
	for _, s := range p.spans {
		if p.single {
			w += fyne.MeasureText(s.text, p.sizeOf(s), s.style).Width
		} else {
			w += p.measure(s, shorten(s.text, 20))
		}
	}
	return w
}

// CreateRenderer is called by Fyne.
func (p *prose) CreateRenderer() fyne.WidgetRenderer { return &proseRenderer{p: p} }

// AccessibilityLabel is the text.
func (p *prose) AccessibilityLabel() string { return p.String() }

// AccessibilityRole is that of a text.
func (p *prose) AccessibilityRole() fyne.AccessibleRole { return fyne.AccessibleRoleText }

type proseRenderer struct {
	p     *prose
	texts []fyne.CanvasObject
}

func (r *proseRenderer) Destroy()                     {}
func (r *proseRenderer) Objects() []fyne.CanvasObject { return r.texts }

func (r *proseRenderer) MinSize() fyne.Size {
	if r.p.single {
		w := r.p.natural() + 1
		return fyne.NewSize(w, r.p.heightFor(w))
	}
	return fyne.NewSize(min(r.p.natural(), 48), r.p.heightFor(r.p.got.orFirst()))
}

func (r *proseRenderer) Layout(size fyne.Size) {
	r.p.got = width(size.Width)
	r.texts = r.texts[:0]
	v := fyne.CurrentApp().Settings().ThemeVariant()
	var y float32
	for _, line := range r.p.wrapped(size.Width) {
		h, x := r.p.lineHeight(line), float32(0)
		for _, piece := range line {
			s := r.p.spans[piece.span]
			name := s.color
			if name == "" {
				name = theme.ColorNameForeground
			}
			t := canvas.NewText(piece.text, theme.Current().Color(name, v))
			t.TextSize, t.TextStyle = r.p.sizeOf(s), s.style
			min := t.MinSize()
			t.Move(fyne.NewPos(x, y+(h-min.Height)/2))
			t.Resize(min)
			x += min.Width
			r.texts = append(r.texts, t)
		}
		y += h
	}
}

func (r *proseRenderer) Refresh() {
	r.p.broken = nil // the theme's sizes may be others now
	r.Layout(r.p.Size())
	canvas.Refresh(r.p)
}
