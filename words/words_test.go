package words

import "testing"

func TestSentence(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "the keychain is locked": "The keychain is locked.", "Done.": "Done.", "which one?": "Which one?", "é": "É.",
	} {
		if got := Sentence(s); got != want {
			t.Errorf("Sentence(%q) = %q, want %q", s, got, want)
		}
	}
}

func TestHost(t *testing.T) {
	for s, want := range map[string]string{
		"https://mcp.example.com/mcp": "mcp.example.com", "http://localhost:8080/": "localhost:8080", "no URL": "no URL", "": "", "https://%": "https://%",
	} {
		if got := Host(s); got != want {
			t.Errorf("Host(%q) = %q, want %q", s, got, want)
		}
	}
}
