package tray

import "strings"

// escape keeps an ampersand from being taken for the mark of an access key.
func escape(label string) string { return strings.ReplaceAll(label, "&", "&&") }
