"""What generated applicants are made of: names by culture, countries by their formats and places."""

from __future__ import annotations

from typing import Final

from scoregate.values import frozen


@frozen
class Culture:
    given: tuple[str, ...]
    family: tuple[str, ...]


def _culture(given: str, family: str) -> Culture:
    return Culture(tuple(given.split()), tuple(family.split()))


CULTURES: Final = {
    "german": _culture(
        "Anna Lukas Lena Jonas Jürgen Käthe Björn Sabine Uwe Heike Thomas Petra Stefan Monika Felix Mia Günter Ute Lea",
        "Müller Schmidt Schneider Fischer Weber Wagner Becker Hoffmann Schäfer Koch Bauer Richter Klein Wolf Schröder "
        "Neumann Schwarz Zimmermann Braun Krüger Hofmann Hartmann Lange Groß Köhler Vogt Böhm Jäger Roth Kaiser",
    ),
    "french": _culture(
        "Chloé Léa Hugo Louis Théo Camille Inès Gérard Hélène François Zoé Jules Manon Luc Élodie Benoît Claire Rémi",
        "Martin Bernard Dubois Robert Richard Petit Durand Leroy Moreau Lefèvre Garnier Faure Rousseau Blanc Guérin "
        "Chevalier Gauthier Perrin Clément Morel Fournier Girard Bonnet Dupont Lambert Fontaine Mercier Boyer",
    ),
    "spanish": _culture(
        "Lucía Hugo Martín Sofía Mateo Daniela José Carmen Ángel Pilar Iván Rocío Álvaro Marta Andrés Nuria Raúl Inés",
        "García González Rodríguez Fernández López Martínez Sánchez Pérez Gómez Muñoz Jiménez Ruiz Díaz Moreno Álvarez "
        "Romero Alonso Gutiérrez Navarro Torres Ramos Gil Serrano Blanco Molina Ortega Núñez Ibáñez",
    ),
    "italian": _culture(
        "Sofia Leonardo Giulia Alessandro Aurora Lorenzo Niccolò Chiara Matteo Elena Marco Paola Davide Ilaria Noè",
        "Rossi Russo Ferrari Esposito Bianchi Romano Colombo Ricci Marino Greco Bruno Gallo Conti Costa  Mancini "
        "Rizzo Lombardi Moretti Barbieri Fontana Santoro Mariani Rinaldi Caruso D'Angelo",
    ),
    "dutch": _culture(
        "Emma Daan Sanne Sem Fleur Bram Lotte Thijs Noor Joris Anouk Ruben Femke Pieter Maartje Koen Zoë Sven",
        "Jansen Bakker Visser Smit Meijer Mulder Bos Vos Peters Hendriks Dekker Brouwer Dijkstra Peeters Maes Jacobs "
        "Claes Willems Goossens Wouters Kuipers Hoekstra Postma Vermeulen",
    ),
    "polish": _culture(
        "Zuzanna Antoni Małgorzata Jakub Łukasz Agnieszka Paweł Katarzyna Michał Ewa Tomasz Magda Grażyna Kinga",
        "Nowak Kowalski Wiśniewski Wójcik Kamiński Lewandowski Zieliński Szymański Woźniak Dąbrowski Kozłowski "
        "Mazur Krawczyk Piotrowski Grabowski Pawłowski Michalski Król Wieczorek Jabłoński Wróbel",
    ),
    "portuguese": _culture(
        "João Maria Inês Tomás Beatriz Rui Mariana Duarte Conceição Luís Catarina Tiago Joana Nuno Letícia Caio Thaís",
        "Silva Santos Ferreira Pereira Oliveira Costa Rodrigues Martins Sousa Fernandes Gonçalves Gomes Lopes Marques "
        "Almeida Ribeiro Carvalho Teixeira Araújo Conceição Magalhães Simões Falcão Brandão",
    ),
    "nordic": _culture(
        "Elsa Lars Åsa Björn Ingrid Göran Freja Søren Kaarina Nils Linnéa Oskar Sven Märta Emil Hanna Olle Tuula",
        "Andersson Johansson Karlsson Nilsson Eriksson Larsson Persson Svensson Lindström Lindqvist Berg Öberg Åkesson "
        "Sjöberg Hansen Nygård Holm Bergström Norén Lund Mäkinen Virtanen",
    ),
    "english": _culture(
        "Olivia Noah Amelia George Isla Oliver Harry Emily Jack Ruby Aoife Seán Siobhán Ronan Grace Owen Ciara Liam",
        "Smith Jones Taylor Brown Williams Wilson Johnson Davies Robinson Wright Thompson Evans Walker White Murphy "
        "O'Brien Byrne Ryan O'Connor Walsh Doyle Gallagher McCarthy Hughes",
    ),
    "baltic": _culture(
        "Kristjan Liis Jānis Ilze Tõnu Mārtiņš Rasa Jonas Ieva Marek Līga Kadri Andris Eglė Tomas Dovilė",
        "Tamm Saar Sepp Mägi Bērziņš Kalniņš Ozoliņš Kask Kukk Jansons Liepa Kazlauskas Petrauskas Rebane Pärn Balodis",
    ),
    "romanian": _culture(
        "Andrei Ioana Ștefan Mihai Elena Gheorghe Raluca Bogdan Cristina Vlad Adriana Țița Cosmin Roxana Dragoș Simona",
        "Popescu Ionescu Popa Radu Dumitru Stan Stoica Gheorghe Matei Ciobanu Rusu Munteanu Șerban Lazăr Țăranu Marin",
    ),
    "turkish": _culture(
        "Zeynep Yusuf Elif Mustafa Ayşe Ömer Büşra Emre Çağla Uğur Işıl Kerem Gülşen Barış Hülya Tuğba İbrahim Selin",
        "Yılmaz Kaya Demir Çelik Şahin Yıldız Öztürk Aydın Özdemir Arslan Doğan Kılıç Aslan Çetin Koç Güneş Polat",
    ),
    "ukrainian": _culture(
        "Олена Андрій Оксана Іван Наталія Тарас Юлія Дмитро Марія Богдан Ірина Сергій Катерина Володимир Світлана",
        "Шевченко Коваленко Бондаренко Ткаченко Кравченко Олійник Шевчук Поліщук Лисенко Марченко Мельник Гончар Мороз",
    ),
    "bulgarian": _culture(
        "Георги Иван Елена Димитър Мария Николай Десислава Петър Цветелина Стоян Радка Борис Виктория Камен Юлия",
        "Иванов Георгиев Димитров Петров Николов Христов Тодоров Стоянов Илиев Ангелов Колев Желев Минчев Попов",
    ),
    "greek": _culture(
        "Ελένη Γιώργος Μαρία Δημήτρης Κατερίνα Νίκος Σοφία Κώστας Άννα Παναγιώτης Ιωάννα Σπύρος Χρήστος Θεοδώρα",
        "Παπαδόπουλος Βλάχος Αγγελόπουλος Νικολαΐδης Γεωργίου Παπαδάκης Καραγιάννης Οικονόμου Μακρής Δήμου Σαμαράς",
    ),
    "arabic": _culture(
        "Mohamed Fatima Youssef Khadija Ahmed Aïcha Omar Zineb Karim Leïla Hassan Nadia Rachid Salma Ali Meryem Bilal",
        "Alaoui Benali Idrissi Tazi Haddad Mansour Khoury Cherkaoui Bennani Amrani Ziani Saïdi Hamdan Nasser Najjar",
    ),
    "indian": _culture(
        "Aarav Priya Rahul Ananya Vikram Kavya Arjun Neha Sanjay Pooja Rohan Divya Imran Meera Karthik Lakshmi Nisha",
        "Sharma Patel Singh Kumar Gupta Reddy Nair Iyer Khan Joshi Mehta Das Rao Verma Chopra Kaur Bose Pillai Menon",
    ),
    "vietnamese": _culture(
        "Thị_Hoa Văn_Nam Minh Thu_Trang Đức Ngọc_Ánh Quốc_Bảo Thùy_Linh Hữu_Phước Kim_Chi Tuấn Hằng",
        "Nguyễn Trần Lê Phạm Huỳnh Hoàng Phan Vũ Đặng Bùi Đỗ Hồ",
    ),
    "chinese": _culture(
        "Wei Fang Xiuying Na Min Jing Li Qiang Lei Jun Yang Yong Yan Jie Juan Tao Chao Xia Ping Gang",
        "Wang Li Zhang Liu Chen Yang Huang Zhao Wu Zhou Xu Sun Ma Zhu Hu Guo He Lin Gao Luo",
    ),
    "nigerian": _culture(
        "Chinedu Ngozi Oluwaseun Amina Emeka Folake Ibrahim Adaeze Tunde Chioma Kelechi Zainab Obinna Yewande",
        "Okafor Adeyemi Balogun Eze Okonkwo Abubakar Adebayo Nwosu Ogunleye Bello Onyekachi Danjuma Ọlátúnjí",
    ),
}


@frozen
class Country:
    """How people of a country write; `lives` and `comes` weigh how many live there and come from there.

    In `document` L is a letter, D a digit, A either, B the birth date as YYMMDD, and the check digit follows.
    In `postcode` # is a digit and @ a letter; the two characters before a city begin its postcodes. `streets` hold {n}.
    """

    culture: str
    document: str
    lives: float = 0.0
    comes: float = 0.0
    phone_digits: int = 9
    mobile: str = "6"
    mail: str = "gmail.com gmail.com outlook.com hotmail.com yahoo.com icloud.com"
    postcode: str = "#####"
    streets: str = ""
    cities: str = ""


COUNTRIES: Final = {
    "DE": Country("german", "LAAAAAAAA", 24, 3, 10, "15", "gmail.com web.de gmx.de t-online.de gmx.net", "#####",
        "Hauptstraße {n}|Bahnhofstr. {n}|Lindenweg {n}|Goethestraße {n}|Am Mühlbach {n}|Gartenstraße {n}|Schulstr. {n}",
        "10Berlin|20Hamburg|80München|50Köln|60Frankfurt am Main|70Stuttgart|04Leipzig|90Nürnberg"),
    "FR": Country("french", "DDLLDDDDD", 16, 3, 9, "6", "gmail.com orange.fr hotmail.com laposte.net", "#####",
        "{n} rue Victor Hugo|{n} avenue de la République|{n} rue des Écoles|{n} bd Voltaire|{n} rue Pasteur",
        "75Paris|69Lyon|13Marseille|31Toulouse|33Bordeaux|59Lille|67Strasbourg"),
    "ES": Country("spanish", "LLLDDDDDD", 12, 3, 9, "6", postcode="#####",
        streets="Calle Mayor {n}|Avda. de la Constitución {n}|Calle del Sol {n}|Paseo de Gracia {n}|C/ San Juan {n}",
        cities="28Madrid|08Barcelona|46Valencia|41Sevilla|50Zaragoza|29Málaga"),
    "IT": Country("italian", "LLDDDDDLL", 11, 4, 10, "3", "gmail.com libero.it virgilio.it hotmail.com", "#####",
        "Via Roma {n}|Via Garibaldi {n}|Corso Italia {n}|Via Dante {n}|Piazza della Libertà {n}|Viale Europa {n}",
        "00Roma|20Milano|80Napoli|10Torino|40Bologna|50Firenze"),
    "NL": Country("dutch", "LLAAAAAAD", 8, 2, 9, "6", "gmail.com ziggo.nl outlook.com hotmail.com gmail.com", "####@@",
        "Kerkstraat {n}|Dorpsstraat {n}|Molenweg {n}|Julianalaan {n}|Stationsweg {n}|Prinsengracht {n}",
        "10Amsterdam|30Rotterdam|25Den Haag|35Utrecht|56Eindhoven"),
    "BE": Country("dutch", "LLDDDDDD", 5, 1, 9, "4", "gmail.com telenet.be hotmail.com outlook.com", "####",
        "Kerkstraat {n}|Stationsstraat {n}|Rue de la Station {n}|Nieuwstraat {n}|Avenue Louise {n}",
        "10Bruxelles|20Antwerpen|90Gent|40Liège|80Brugge"),
    "PL": Country("polish", "LLLDDDDDD", 8, 7, 9, "5", "gmail.com wp.pl o2.pl interia.pl gmail.com", "##-###",
        "ul. Polna {n}|ul. Leśna {n}|ul. Słoneczna {n}|ul. Kościuszki {n}|al. Jana Pawła II {n}|ul. Ogrodowa {n}",
        "00Warszawa|30Kraków|90Łódź|50Wrocław|60Poznań|80Gdańsk"),
    "PT": Country("portuguese", "LDDDDDD", 4, 3, 9, "9", "gmail.com sapo.pt hotmail.com outlook.com", "####-###",
        "Rua da Liberdade {n}|Avenida da República {n}|Rua do Comércio {n}|Travessa da Fonte {n}|Rua Nova {n}",
        "10Lisboa|40Porto|47Braga|30Coimbra|80Faro"),
    "SE": Country("nordic", "BDDD", 4, 1, 9, "7", postcode="### ##",
        streets="Storgatan {n}|Drottninggatan {n}|Kungsgatan {n}|Björkvägen {n}|Skolgatan {n}",
        cities="11Stockholm|41Göteborg|21Malmö|75Uppsala"),
    "AT": Country("german", "LDDDDDDD", 4, 1, 9, "6", "gmail.com gmx.at outlook.com hotmail.com", "####",
        "Hauptstraße {n}|Wiener Straße {n}|Mariahilfer Str. {n}|Kirchengasse {n}|Feldgasse {n}",
        "10Wien|80Graz|40Linz|50Salzburg"),
    "IE": Country("english", "LLDDDDDDD", 3, 1, 9, "8", postcode="@## @@##",
        streets="{n} Main Street|{n} Church Road|{n} O'Connell Street|{n} The Green|{n} Park Avenue",
        cities="D1Dublin|T1Cork|H9Galway|V9Limerick"),
    "EE": Country("baltic", "DBDDD", 2, 1, 8, "5", postcode="#####",
        streets="Pikk {n}|Tartu mnt {n}|Kooli tn {n}|Mere pst {n}|Jõe tn {n}",
        cities="10Tallinn|51Tartu|80Pärnu"),
    "LT": Country("baltic", "DBDDD", 0, 2, 8, "6"),
    "RO": Country("romanian", "DBDDDDD", 0, 10, 9, "7"),
    "BG": Country("bulgarian", "BDDD", 0, 4, 9, "8", "abv.bg gmail.com gmail.com"),
    "GR": Country("greek", "LLDDDDDDD", 0, 3, 10, "69"),
    "GB": Country("english", "DDDDDDDDD", 0, 5, 10, "7"),
    "CH": Country("german", "LDDDDDDD", 0, 1, 9, "7"),
    "UA": Country("ukrainian", "LLDDDDDD", 0, 10, 9, "6", "gmail.com ukr.net gmail.com"),
    "TR": Country("turkish", "LDDDDDDDD", 0, 9, 10, "5"),
    "MA": Country("arabic", "LLDDDDDDD", 0, 7, 9, "6"),
    "TN": Country("arabic", "LDDDDDD", 0, 2, 8, "2"),
    "IN": Country("indian", "LDDDDDDD", 0, 7, 10, "9"),
    "VN": Country("vietnamese", "LDDDDDDD", 0, 3, 9, "9"),
    "CN": Country("chinese", "LDDDDDDDD", 0, 3, 11, "13"),
    "NG": Country("nigerian", "LDDDDDDDD", 0, 3, 10, "80"),
    "BR": Country("portuguese", "LLDDDDDD", 0, 6, 11, "119"),
    "MX": Country("spanish", "LDDDDDDDD", 0, 2, 10, "55"),
    "CO": Country("spanish", "LLDDDDDD", 0, 4, 10, "3"),
    "US": Country("english", "DDDDDDDDD", 0, 3, 10, "617"),
}  # fmt: skip
CODES: Final = tuple(COUNTRIES)

_NICKNAMES: Final = """
sunny tiger bluesky moonlight rockstar kitty pixel shadow happy dragon coffee wolf star lucky ninja panda flower bike
angel storm mountain gamer river music phoenix cactus penguin vintage turbo velvet
"""
NICKNAMES: Final = tuple(_NICKNAMES.split())
WORKPLACES: Final = ("atelier", "clinic", "harbour", "kontor", "nordwind", "officina", "studio", "werkstatt")
